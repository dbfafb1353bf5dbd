"""docs/client.md tells all that the client can do and say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from peersdb.client import COMMANDS, errors, transport
from peersdb.client.arguments import EXIT_CODES, parse

PAGE = (Path(__file__).parents[3] / "docs" / "client.md").read_text()


def failures(cls: type[errors.Failed] = errors.Failed) -> Iterator[type[errors.Failed]]:
    for child in cls.__subclasses__():
        yield child
        yield from failures(child)


def test_each_command_has_its_row_with_its_options() -> None:
    rows = dict(re.findall(r"^\| `([a-z]+)([^`]*)` \|", PAGE, re.MULTILINE))
    assert [name for name in rows if name in COMMANDS] == list(COMMANDS)
    for name, told in rows.items():
        if name in COMMANDS:
            needed = ["x"] if re.search(r"[A-Z]", re.sub(r"\[.*", "", told)) else []
            given = vars(parse([name, *needed], {}))
            options = {key for key in given if f"--{key.replace('_', '-')}" in told}
            assert options == set(given) & {"json", "name", "since", "limit", "verdict", "only_valid"} | (
                {"path"} if name == "query" else set()
            ), name


def test_each_code_of_the_client_is_told() -> None:
    codes = {cls.code for cls in failures() if cls is not errors.Refused} | {"output"}
    table = PAGE.partition("and these:")[2]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == codes


def test_each_exit_status_is_told_on_the_page_and_in_the_help() -> None:
    told = set(re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE))
    assert told == set(re.findall(r"\b\d+\b", EXIT_CODES))


def test_the_limits_are_those_of_the_code() -> None:
    assert f"waits {transport.CONNECT_TIMEOUT:.0f} s for a connection" in PAGE
    assert f"and {transport.ANSWER_TIMEOUT:.0f} s for an answer" in PAGE
    assert f"given up after\n{transport.STALLED_AFTER} s" in PAGE
