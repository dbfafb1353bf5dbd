"""The command line: what is understood, and how a mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from peersdb.client import COMMANDS
from peersdb.client.arguments import Endpoint, endpoint, parse, read_token
from peersdb.client.commands import RUN
from peersdb.client.errors import FileProblem, Misused

EXAMPLES = {
    "post": ["a", "b"],
    "get": ["/ipfs/x"],
    "query": ["--path", "x", "--since", "7", "--limit", "3", "--json"],
    "connect": ["/ip4/127.0.0.1/tcp/1/p2p/x"],
    "status": ["--json"],
    "peers": [],
    "isvalid": ["/ipfs/x"],
    "validate": ["/ipfs/x"],
    "benchmark": [],
    "benchmarks": [],
}


def test_each_command_is_parsed_and_run() -> None:
    assert set(COMMANDS) == set(RUN) == set(EXAMPLES)
    for name, arguments in EXAMPLES.items():
        assert parse([name, *arguments], {}).command == name


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("flag", ["-h", "-help", "--help"])
def test_help_of_each_command_teaches_by_an_example(
    name: str, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse([name, flag], {})
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert f"peersdb {name}" in text.partition("example:")[2]
    assert "130 interrupted" in text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("post", "FILE"),
        ("get", "PATH"),
        ("get a b", "unrecognized arguments: b"),
        ("query --limit 0", "'0' is not a number from 1"),
        ("query --limit many", "'many' is not a number from 1"),
        ("query --js", "--js"),
        ("post --name n a b", "--name is for one file"),
        ("post - -", "once only"),
        ("status -bootstrap", "-bootstrap"),
    ],
)
def test_a_mistake_is_named_and_says_where_help_is(line: str, words: str) -> None:
    with pytest.raises(Misused) as caught:
        parse(line.split(), {})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_address_comes_from_the_flag_then_the_environment_then_the_default() -> None:
    env = {"PEERSDB_API": "http://env:1", "PEERSDB_API_TOKEN_FILE": "/env"}
    given = parse(["status", "--api", "http://flag:1", "--api-token-file=/flag"], env)
    assert (given.api, given.api_token_file) == ("http://flag:1", "/flag")
    given = parse(["status"], env)
    assert (given.api, given.api_token_file) == ("http://env:1", "/env")
    for nothing in ({}, {"PEERSDB_API": "", "PEERSDB_API_TOKEN_FILE": ""}):
        given = parse(["status"], nothing)
        assert (given.api, given.api_token_file) == ("http://127.0.0.1:8080", None)


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://127.0.0.1:8080", (False, "127.0.0.1", 8080, "")),
        ("http://node", (False, "node", 80, "")),
        ("https://node/eu/1/", (True, "node", 443, "/eu/1")),
        ("http://[::1]:81", (False, "::1", 81, "")),
        ("node", (False, "node", 8080, "")),
        ("node:81", (False, "node", 81, "")),
    ],
)
def test_addresses_of_nodes(url: str, parts: tuple[bool, str, int, str]) -> None:
    assert endpoint(url) == Endpoint(url, *parts)


@pytest.mark.parametrize(
    "url",
    ["", "http://", "ftp://node", "/ip4/127.0.0.1/tcp/4001", "http://node:port", "http://node:70000", "http://node:0",
     "http://node?x", "http://no de", "http://node/\r\nX: y", "http://[::1", "http://ü/"],
)  # fmt: skip
def test_what_is_no_address_is_named(url: str) -> None:
    with pytest.raises(Misused, match="--api"):
        endpoint(url)


def test_a_password_in_the_address_is_refused_without_being_shown() -> None:
    with pytest.raises(Misused, match="--api-token-file") as caught:
        endpoint("http://me:secret@node")
    assert "secret" not in str(caught.value)


def test_the_token_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("\n new-Token_1~+/== \nold\n")
    assert read_token(str(file)) == "new-Token_1~+/=="


@pytest.mark.parametrize("content", [b"", b"\n \n", b"two words\n", b"\xff\xfe\n", "tökén".encode()])
def test_a_file_without_a_token_is_named_and_not_shown(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token-file"
    file.write_bytes(content)
    with pytest.raises(FileProblem, match="token-file holds no token"):
        read_token(str(file))


def test_a_token_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileProblem, match="nowhere: No such file"):
        read_token(str(tmp_path / "nowhere"))
