"""The client as a process: what it loads, prints and exits with."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
from client_peers import PATIENCE, answering, read_request, response, run_client

ROW = (
    b'{"path":"/ipfs/x","contributor":"someone","creationTS":"2025-06-01T12:00:00Z","name":"a\\tb","size":7,'
    b'"verdict":"valid"}'
)
PAGE_OF_ONE = b'{"contributions":[' + ROW + b'],"cursor":"1"}'


def one_line(result: subprocess.CompletedProcess[bytes]) -> str:
    (line,) = result.stderr.decode().splitlines()
    assert line.startswith("peersdb: ")
    return line


def test_the_client_starts_without_what_only_a_node_needs() -> None:
    code = (
        "import sys; from peersdb.__main__ import main\n"
        "sys.argv = ['peersdb', 'status', '--api', 'http://127.0.0.1:1']\n"
        "try: main()\n"
        "except SystemExit as end: print(end.code, *sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-S", "-c", code],  # -S: without what other packages load at the start of any Python
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "node")},
    )
    status, *modules = result.stdout.split()
    assert status == "1", result.stderr
    assert "peersdb.client.main" in modules
    loaded = {name.partition(".")[0] for name in modules}
    # -S hides the installed packages, so this run has shown that none is needed; these are the standard library's.
    assert not loaded & {"asyncio", "concurrent", "multiprocessing", "sqlite3", "inspect"}
    layers = ("api", "service", "net", "store", "core", "settings")
    assert not [name for name in modules if name.startswith(tuple(f"peersdb.{layer}" for layer in layers))]


def test_the_nodes_refusal_is_one_line_with_its_code_and_status_1() -> None:
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(
            response(b'{"error":"nobody\\u001b[2J has it","code":"not_found"}', "404 Not Found")
        )

    with answering(serve) as url:
        result = run_client("get", "/ipfs/x", "--api", url)
    assert (result.returncode, result.stdout) == (1, b"")
    assert one_line(result) == "peersdb: nobody\\x1b[2J has it (not_found)"


@pytest.mark.parametrize(
    ("document", "status", "shown"),
    [
        (b'{"path":"/ipfs/x","isValid":true,"voteCnt":3}', 0, b"valid (3 votes)\n"),
        (b'{"path":"/ipfs/x","isValid":false,"voteCnt":1}', 3, b"not valid (1 vote)\n"),
        (b'{"path":"/ipfs/x"}', 1, b""),
    ],
)
def test_the_status_of_isvalid_tells_valid_from_not_valid_from_not_known(
    document: bytes, status: int, shown: bytes
) -> None:
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(response(document))

    with answering(serve) as url:
        result = run_client("isvalid", "/ipfs/x", "--api", url)
    assert (result.returncode, result.stdout) == (status, shown)


def test_wrong_usage_is_one_line_and_status_2() -> None:
    for arguments in (["get"], ["query", "--api", "nonsense://"], ["post", "--nmae", "x", "y"]):
        result = run_client(*arguments)
        assert (result.returncode, result.stdout) == (2, b"")
        one_line(result)


@pytest.mark.parametrize(
    ("name", "words"),
    [("nowhere", "cannot read nowhere: No such file or directory"), (".", ". is a directory"), ("a\0b", "")],
)
def test_files_that_cannot_be_shared_are_named_before_any_is_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    from peersdb.client.main import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "good").write_text("good")
    # Nobody listens there: had it tried to share the good one, that would be the error.
    assert main(["post", "good", name, "--api", "http://127.0.0.1:1"], {}) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert words in shown.err
    assert shown.err.endswith("(unreadable)\n")


def test_lines_in_a_pipe_have_six_fields_and_json_is_the_nodes_own() -> None:
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(response(PAGE_OF_ONE))

    with answering(serve) as url:
        result = run_client("query", PEERSDB_API=url)
    assert result.stdout == b"/ipfs/x\tsomeone\t2025-06-01T12:00:00Z\t7\ta\\tb\tvalid\n"
    with answering(serve) as url:
        result = run_client("query", "--json", PEERSDB_API=url)
    assert result.stdout == PAGE_OF_ONE + b"\n"


def test_a_list_that_breaks_off_is_a_failure_after_what_came() -> None:
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(response(b"[" + ROW, length=99999))

    with answering(serve) as url:
        result = run_client("query", "--json", "--api", url)
    assert result.returncode == 1
    assert "(broken_off)" in one_line(result)
    assert b"/ipfs/x" in result.stdout


def test_a_reader_that_went_away_ends_it_quietly() -> None:
    """`peersdb query | head -1`: a list much longer than the pipe holds."""

    def serve(connection: socket.socket, before: bytes, after: bytes) -> None:
        read_request(connection)
        try:
            connection.sendall(
                response(before + b",".join([ROW] * 999 + [b'{"name":"%s"}' % (b"x" * 300_000)]) + after)
            )
        except OSError:
            return  # the client has gone

    for arguments, before, after in (
        (["query", "--limit", "1000"], b'{"contributions":[', b'],"cursor":"1"}'),
        (["query", "--json"], b"[", b"]"),
    ):
        with answering(partial(serve, before=before, after=after)) as url:
            client = subprocess.Popen(
                [sys.executable, "-m", "peersdb", *arguments, "--api", url],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            assert client.stdout is not None
            assert client.stderr is not None
            with client:
                assert client.stdout.read(7)
                client.stdout.close()
                assert client.stderr.read() == b""
                assert client.wait(PATIENCE) == 141


def test_an_output_that_cannot_be_written_is_told() -> None:
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(response(PAGE_OF_ONE))

    with answering(serve) as url, open("/dev/full", "wb") as full:  # noqa: PTH123
        client = subprocess.run(
            [sys.executable, "-m", "peersdb", "query", "--api", url],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=PATIENCE,
            check=False,
        )
    assert client.returncode == 1
    assert client.stderr == b"peersdb: cannot write the output: No space left on device (output)\n"


def test_ctrl_c_ends_it_with_130_and_without_a_trace() -> None:
    asked = threading.Event()

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        asked.set()
        assert connection.recv(1) == b""

    with answering(serve) as url:
        client = subprocess.Popen(
            [sys.executable, "-m", "peersdb", "get", "/ipfs/x", "--api", url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with client:
            assert asked.wait(PATIENCE)
            client.send_signal(signal.SIGINT)
            assert client.communicate(timeout=PATIENCE) == (b"", b"")
    assert client.returncode == 130


@pytest.mark.parametrize(
    ("closed", "words"),
    [
        ("<&-", b"peersdb: cannot read the standard input"),
        (">&-", b"peersdb: cannot write the output"),
        ("2>&-", b""),
    ],
)
def test_streams_that_are_closed_are_told_where_that_can_be(closed: str, words: bytes) -> None:
    result = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m peersdb post - --api http://127.0.0.1:1 {closed}"],
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith(words)
    assert len(result.stderr.splitlines()) == bool(words)


def test_the_nodes_help_names_the_client_first() -> None:
    shown = run_client("-help").stdout.decode()
    assert "peersdb post|get|query" in shown.partition("Flags")[0]
