"""The client against real nodes: what a user types and sees."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract_nodes import Node, Nodes, clean_environment, eventually, nodes_in

pytestmark = pytest.mark.processes

MIB = 1024 * 1024
#: What the client may hold in memory, whatever the file's size.
MOST_MEMORY = 60 * MIB
#: A start of the client is some 80 ms of CPU; more than this has imported what it should not have.
MOST_CPU = 0.4
PATIENCE = 60.0
EMPTY = "/ipfs/bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
PAGE = (Path(__file__).parents[2] / "docs" / "client.md").read_text()
#: The client, and its own account of the most memory it held.
WATCHED = """
import re, sys
from peersdb.__main__ import main
try:
    main()
finally:
    with open("/proc/self/status") as status:
        print(re.search(r"VmHWM:\\s+(\\d+) kB", status.read())[1], file=sys.stderr)
"""


def client(
    node: Node, *arguments: str, stdin: bytes = b"", watched: bool = False
) -> subprocess.CompletedProcess[bytes]:
    """Runs the client on a node."""
    program = ["-c", WATCHED] if watched else ["-m", "peersdb"]
    return subprocess.run(
        [sys.executable, *program, *arguments],
        input=stdin,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
        env=clean_environment(PEERSDB_API=node.url),
    )


def printed(result: subprocess.CompletedProcess[bytes]) -> str:
    """The output of a client that succeeded."""
    assert (result.returncode, result.stderr) == (0, b"")
    return result.stdout.decode().removesuffix("\n")


def failure(result: subprocess.CompletedProcess[bytes], status: int = 1) -> str:
    """The one line of a client that did not succeed."""
    assert (result.returncode, result.stdout) == (status, b"")
    (line,) = result.stderr.decode().splitlines()
    assert line.startswith("peersdb: ")
    return line


@pytest.mark.parametrize("size", [0, 1, 5 * MIB])
def test_a_file_that_the_client_shares_is_got_from_another_node(
    cluster: list[Node], tmp_path: Path, size: int
) -> None:
    content = os.urandom(size)
    (tmp_path / "näme of it.bin").write_bytes(content)
    path = printed(client(cluster[1], "post", str(tmp_path / "näme of it.bin")))
    assert (path == EMPTY) == (size == 0)
    eventually(cluster[2].paths, "replication", until=lambda seen: path in seen)
    target = printed(client(cluster[2], "get", path))
    assert Path(target).read_bytes() == content


def test_files_and_the_standard_input_are_shared_in_turn(cluster: list[Node], tmp_path: Path) -> None:
    contents = [os.urandom(10), os.urandom(3 * MIB), os.urandom(20)]
    for name, content in zip("ac", contents[::2], strict=True):
        (tmp_path / name).write_bytes(content)
    result = client(cluster[0], "post", str(tmp_path / "a"), "-", str(tmp_path / "c"), stdin=contents[1])
    paths = printed(result).splitlines()
    assert [cluster[0].get(path) for path in paths] == contents


def test_a_large_file_passes_at_flat_memory(nodes: Nodes, tmp_path: Path) -> None:
    node = nodes.start("root", "-root").wait_ready()
    file, mark = tmp_path / "large", os.urandom(16)
    with file.open("wb") as large:  # sparse: 200 MiB of zeros but for a mark in each 10
        large.truncate(200 * MIB)
        for number in range(20):
            large.seek(number * 10 * MIB)
            large.write(mark)
    idle = client(node, "status", watched=True)
    for arguments, stdin in (([str(file)], b""), (["--name", "piped", "-"], file.read_bytes())):
        result = client(node, "post", *arguments, stdin=stdin, watched=True)
        assert result.returncode == 0, result.stderr
        assert int(result.stderr) * 1024 <= MOST_MEMORY
        assert int(result.stderr) <= int(idle.stderr) + 8 * 1024  # kB: a few pieces, not the file
        path = result.stdout.decode().strip()
    (target,) = {Path(printed(client(node, "get", path)))}
    with target.open("rb") as got, file.open("rb") as sent:
        assert hashlib.file_digest(got, "sha256").digest() == hashlib.file_digest(sent, "sha256").digest()


def test_a_command_starts_at_once(cluster: list[Node]) -> None:
    before = os.times()
    printed(client(cluster[0], "status"))
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    assert used < MOST_CPU


def on_terminal(node: Node, *arguments: str) -> str:
    """What the client writes on a terminal of its own."""
    pid, terminal = pty.fork()
    if pid == 0:
        environment = clean_environment(PEERSDB_API=node.url, TERM="xterm", COLUMNS="100")
        os.execve(sys.executable, [sys.executable, "-m", "peersdb", *arguments], environment)  # noqa: S606 - into the pty
    shown, deadline = b"", time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            more = os.read(terminal, 65536)
        except OSError:  # how Linux says that the other side of a terminal is closed
            break
        if not more:
            break
        shown += more
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, shown
    return shown.decode()


def test_a_terminal_shows_progress_and_then_the_path(nodes: Nodes, tmp_path: Path) -> None:
    node = nodes.start("root", "-root").wait_ready()
    (tmp_path / "large [bold].bin").write_bytes(os.urandom(40 * MIB))
    shown = on_terminal(node, "post", str(tmp_path / "large [bold].bin"))
    assert "large [bold].bin" in shown
    assert "40.0 MiB" in shown
    (path,) = node.paths()
    assert path in shown.splitlines()[-1]
    (tmp_path / "small").write_bytes(b"small")
    assert re.fullmatch(r"/ipfs/\w+\r\n", on_terminal(node, "post", str(tmp_path / "small")))


def test_lists_are_tables_on_a_terminal_and_lines_elsewhere(cluster: list[Node]) -> None:
    node = cluster[0]
    path = printed(client(node, "post", "--name", "its name", "-", stdin=os.urandom(10)))
    heading, *lines = on_terminal(node, "query").splitlines()
    assert heading.split() == ["PATH", "CONTRIBUTOR", "TIME", "(UTC)", "SIZE", "VERDICT", "NAME"]
    assert len(lines) == len(node.paths())
    assert re.fullmatch(
        rf"{path} +…\w{{8}} +\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d +10 B  unknown  its name", lines[-1]
    )
    fields = [line.split("\t") for line in printed(client(node, "query")).splitlines()]
    rows = node.query()
    assert sorted(row[:3] for row in fields) == sorted([*row.values()] for row in rows)
    assert fields[-1][3:] == ["10", "its name", "unknown"]
    assert json.loads(printed(client(node, "query", "--json"))) == rows
    assert printed(client(node, "query", "--path", path)).split("\t") == fields[-1]


def test_a_cursor_gives_what_came_later(cluster: list[Node]) -> None:
    node = cluster[0]
    before = json.loads(printed(client(node, "query", "--json", "--limit", "10000")))
    assert len(before["contributions"]) == len(node.paths())
    assert printed(client(node, "query", "--since", before["cursor"])) == ""
    for number in range(3):
        node.post(os.urandom(10), f"later-{number}")
    later = printed(client(node, "query", "--since", before["cursor"], "--limit", "2")).splitlines()
    assert [line.split("\t")[4] for line in later] == ["later-0", "later-1"]
    assert failure(client(node, "query", "--since", "yesterday")).endswith("(bad_request)")


def test_status_peers_and_benchmarks_are_what_the_node_says(cluster: list[Node]) -> None:
    node = cluster[0]
    status = json.loads(printed(client(node, "status", "--json")))
    assert status["peerId"] == node.status()["peerId"]
    assert f"peer id       {status['peerId']}\n" in printed(client(node, "status"))
    peers = json.loads(printed(client(node, "peers", "--json")))
    lines = [line.split("\t") for line in printed(client(node, "peers")).splitlines()]
    assert lines == [[peer["peerId"], peer["region"], "peer"] for peer in peers]
    assert {peer["region"] for peer in peers} == {"us", "asia"}
    assert on_terminal(node, "peers").split()[:3] == ["PEER", "ID", "REGION"]
    assert printed(client(node, "benchmark")).startswith("eu\t0.000\t")
    lines = printed(client(node, "benchmarks")).splitlines()
    assert {line.split("\t")[0] for line in lines} == {"eu", "us", "asia"}
    assert json.loads(printed(client(node, "benchmark", "--json")))["region"] == "eu"
    assert len(json.loads(printed(client(node, "benchmarks", "--json")))) == 3


def test_connect_makes_a_peer(nodes: Nodes) -> None:
    one, other = nodes.start("one", "-root").wait_ready(), nodes.start("other").wait_answering()
    assert printed(client(other, "connect", one.multiaddr)) == "Peer id processed"
    assert printed(client(other, "peers")).split("\t")[0] == one.status()["peerId"]


def test_what_the_node_refuses_is_told_with_its_code(nodes: Nodes, tmp_path: Path) -> None:
    node = nodes.start("lonely").wait_answering()
    (tmp_path / "file").write_bytes(os.urandom(8 * MIB))
    assert failure(client(node, "post", str(tmp_path / "file"))).endswith("(no_store)")
    assert failure(client(node, "post", "-", stdin=b"x" * 8 * MIB)).endswith("(no_store)")
    assert failure(client(node, "get", "/ipfs/nonsense")).endswith("(invalid_cid)")
    assert failure(client(node, "connect", "nonsense")).endswith("(bad_request)")
    assert failure(client(node, "benchmark")).endswith("(not_enabled)")
    assert failure(client(node, "benchmarks")).endswith("(not_enabled)")
    # libp2p's own port is no HTTP.
    result = client(node, "status", "--api", f"http://127.0.0.1:{node.ipfs_port}")
    assert failure(result).endswith(("(bad_answer)", "(broken_off)"))
    node.stop()
    assert failure(client(node, "status")).endswith("(unreachable)")


def test_an_upload_that_is_interrupted_is_not_shared(nodes: Nodes) -> None:
    node = nodes.start("root", "-root").wait_ready()
    process = subprocess.Popen(
        [sys.executable, "-m", "peersdb", "post", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(PEERSDB_API=node.url),
    )
    assert process.stdin is not None
    with process:
        # More than the pipe holds: once this is written, the client is sending.
        process.stdin.write(os.urandom(8 * MIB))
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
        assert process.stdout is not None
        assert process.stderr is not None
        assert (process.stdout.read(), process.stderr.read()) == (b"", b"")
    path = printed(client(node, "post", "-", stdin=b"whole"))
    assert node.paths() == [path]


def test_a_name_that_is_no_utf8_is_shared_as_far_as_it_is(cluster: list[Node], tmp_path: Path) -> None:
    file = os.fsencode(tmp_path) + b"/caf\xe9.csv"
    with open(file, "wb") as source:  # noqa: PTH123 - a path of bytes
        source.write(os.urandom(10))
    path = printed(client(cluster[0], "post", os.fsdecode(file)))
    line = printed(client(cluster[0], "query", "--path", path))
    assert line.split("\t")[4] == "caf\ufffd.csv"


def test_a_node_with_a_token_is_asked_with_it(nodes: Nodes, tmp_path: Path) -> None:
    tokens, mine, wrong = tmp_path / "tokens", tmp_path / "mine", tmp_path / "wrong"
    tokens.write_text("new-token-0123456789\nold-token-0123456789\n")
    mine.write_text("old-token-0123456789\n")
    wrong.write_text("bad-token-0123456789\n")
    node = nodes.start("root", "-root", "-api-token-file", str(tokens)).wait_ready()
    (tmp_path / "file").write_bytes(content := os.urandom(8 * MIB))
    for arguments in (
        ["status"],
        ["status", "--api-token-file", str(wrong)],
        ["post", str(tmp_path / "file")],
    ):
        assert failure(client(node, *arguments)).endswith("(unauthorized)")
    for token in (mine, tokens):
        path = printed(client(node, "post", str(tmp_path / "file"), "--api-token-file", str(token)))
    target = printed(client(node, "get", path, "--api-token-file", str(mine)))
    assert Path(target).read_bytes() == content
    assert "0123456789" not in node.log(60_000)


def test_a_file_is_asked_for_its_validity(cluster: list[Node]) -> None:
    path = printed(client(cluster[1], "post", "--name", "a.csv", "-", stdin=b"runtime,nodes\n1.5,4\n"))
    result = client(cluster[1], "isvalid", path)
    assert re.fullmatch(r"valid \(\d+ votes?\)", printed(result))
    document = json.loads(printed(client(cluster[1], "isvalid", "--json", path)))
    assert (document["path"], document["isValid"]) == (path, True)
    assert failure(client(cluster[1], "isvalid", "nonsense")).endswith("(invalid_cid)")


# --- the page --------------------------------------------------------------------------------------------


def sessions() -> Iterator[tuple[str, str]]:
    """The commands of the page in their order, each with the output that is shown."""
    for block in re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, output


def test_the_commands_of_the_page_answer_what_it_shows(tmp_path: Path) -> None:
    shown = list(sessions())
    assert len(shown) > 5
    with nodes_in(tmp_path) as made:
        node = made.start("root", "-root").wait_ready()
        for command, output in shown:
            result = subprocess.run(
                ["sh", "-c", command.replace("peersdb ", f"{sys.executable} -m peersdb ")],
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=PATIENCE,
                check=False,
                env=clean_environment(PEERSDB_API=node.url),
            )
            assert result.stdout.replace(str(node.downloads), "/home/me/Downloads") == output, command
