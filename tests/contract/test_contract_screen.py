"""The shell on a terminal: tables, bars and completion, seen through a real pty."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract_nodes import Node, Nodes, eventually
from test_contract_shell import Terminal, run_shell

pytestmark = pytest.mark.processes

MIB = 1024 * 1024
#: Of the file `CONTENT`.
CONTENT = b"runtime,nodes\n12.5,4\n"
PATH = "/ipfs/bafkreibyklockzfol3n4suwf34hrgptneg3lppbrqo5wrdussz7vw3sdx4"


class Screen(Terminal):
    """A terminal on which a person types commands and reads the answers."""

    def do(self, command: str, last: str) -> list[str]:
        """Types a command and gives the lines of its answer, up to and with the one that has ``last``."""
        self.wait_for("peersdb>")
        self.type(f"{command}\r")
        shown = self.wait_for(f"{command}\r\r\n") and self.wait_for(last) + self.wait_for("\r\n")
        lines = [line.split("\r")[-1].rstrip() for line in shown.rstrip("\r\n").split("\r\n")]
        return [line for line in lines if line.strip("\x08 ")]  # but those that the prompt took for its menu

    def facts(self) -> dict[str, str]:
        """What `status` shows, by name; all other lines (of the log) have one blank at most."""
        lines = (re.split(r"\s{2,}", line, maxsplit=1) for line in self.do("status", "fingerprint"))
        return {line[0]: line[1] for line in lines if len(line) == 2}


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[Screen]:
    made = Screen(tmp_path, columns=300)
    yield made
    made.type("\x15exit\r")
    assert made.process.wait(10) == 0
    made.end()


def test_lists_are_tables_and_facts_are_in_columns(screen: Screen) -> None:
    (screen.folder / "data set.csv").write_bytes(CONTENT)
    assert screen.do("query", "(none)") == ["(none)"]
    assert screen.do("peers", "(none)") == ["(none)"]
    posted = screen.do(rf"post {screen.folder}/data\ set.csv", PATH)
    assert posted == [f"File uploaded: {PATH} (21 B)"]
    heading, rule, row = screen.do("query", "data set.csv")
    assert heading.split("  ")[0] == "PATH"
    assert set(rule) == {"─"}
    path, contributor, day, time, size, unit, name = row.split(maxsplit=6)
    assert (path, size, unit, name) == (PATH, "21", "B", "data set.csv")
    assert re.fullmatch(r"….{8} \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", f"{contributor} {day} {time}")
    assert heading.index("NAME") == row.index("data set.csv")
    with_cursor = screen.do("query limit=1", "since=: 1")
    assert with_cursor[2].startswith(PATH)
    facts = screen.facts()
    assert (facts["root"], facts["ready"], facts["entries"]) == (
        "yes",
        "yes",
        "1, 0 waiting for their parents",
    )
    assert facts["peer id"].startswith("12D3Koo")
    helped = screen.do("help", "stop the node")
    assert [line.split()[0] for line in helped[2:]] == [
        *(
            "post",
            "get",
            "query",
            "connect",
            "peers",
            "status",
            "isvalid",
            "validate",
            "benchmark",
            "help",
            "exit",
        )
    ]
    valid = screen.do(f"isvalid {PATH}", "judged here")
    assert valid[-1].split() == [PATH, "yes", "judged", "here"]


def test_errors_and_answers_in_words_are_as_in_a_pipe(screen: Screen) -> None:
    assert screen.do("post", "given") == ["error: post takes one argument, the file: 0 given"]
    assert screen.do("drop", "unknown")[0].startswith("error: unknown command 'drop'")
    assert screen.do("get /ipfs/nonsense", "error") == [
        "error: 'nonsense' is no CID: it starts neither with Qm nor with one of b, z, f"
    ]
    assert screen.do("benchmark", "do so") == ["Benchmark is not enabled, use -benchmark to do so"]
    (answer,) = screen.do("connect /ip4/127.0.0.1/tcp/1/p2p/12D3KooW", "error")
    assert "is no multiaddr to dial" in answer


def test_a_narrow_terminal_cuts_no_path(tmp_path: Path) -> None:
    screen = Screen(tmp_path, columns=40)
    try:
        (tmp_path / "x.csv").write_bytes(CONTENT)
        screen.wait_for("peersdb>")
        screen.type(f"post {tmp_path}/x.csv\r")
        screen.wait_for("File uploaded")
        screen.wait_for("peersdb>")
        screen.type("query\r")
        assert PATH in screen.wait_for("x.csv")
    finally:
        screen.end()


def test_a_large_file_shows_how_far_it_is_on_its_way_in_and_out(tmp_path: Path, nodes: Nodes) -> None:
    root = nodes.start("root", "-root").wait_ready()
    big = tmp_path / "big data.bin"
    big.write_bytes(os.urandom(96 * MIB))
    screen = Screen(tmp_path, "-bootstrap", f"127.0.0.1:{root.http_port}", columns=300)
    try:
        screen.do("connect " + root.multiaddr, "Peer id processed")
        # A peer is connected before it holds the log: until then it has nothing to post to.
        eventually(lambda: screen.facts().get("ready") == "yes", "it holds the cluster's log")
        screen.wait_for("peersdb>")
        screen.type(f"post '{big}'\r")
        shown = screen.wait_for("File uploaded: ")
        assert re.search(r"big data\.bin ━*.*/96\.0 MiB", shown), shown
        path = screen.wait_for(" (96.0 MiB)").split()[0]
        screen.wait_for("peersdb>")
        screen.type(f"get {path}\r")
        shown = screen.wait_for(f"stored {path} successfully under ")
        assert re.search(r"big data\.bin ━*.*/96\.0 MiB", shown), shown
        assert (tmp_path / "got" / path.removeprefix("/ipfs/")).stat().st_size == 96 * MIB
        small = tmp_path / "small.bin"
        small.write_bytes(b"small")
        assert screen.do(f"post {small}", "(5 B)")[0].startswith("File uploaded: ")
    finally:
        screen.end()


def test_what_peers_chose_never_steers_the_terminal(cluster: list[Node], tmp_path: Path) -> None:
    root = cluster[0]
    name = "n" * 200 + ".csv"
    root.post(b"a file with a long name", name)
    screen = Screen(
        tmp_path, "-bootstrap", f"127.0.0.1:{root.http_port}", "-region", "[bold]home", columns=300
    )
    try:
        screen.do("connect " + root.multiaddr, "Peer id processed")
        facts = eventually(screen.facts, "replication", until=lambda facts: facts["entries"][0] != "0")
        assert facts["region"] == "[bold]home"
        listed = [row.split() for row in screen.do("peers", root.status()["peerId"])]
        assert listed[-1][1:] == ["eu", "root"]
        shown = screen.do("query", "nnn…")
        assert shown[-1].endswith("n" * 47 + "…")
    finally:
        screen.end()


def test_tab_completes_commands_known_paths_and_files(screen: Screen) -> None:
    (screen.folder / "data set.csv").write_bytes(CONTENT)
    screen.wait_for("peersdb>")
    screen.type(f"post {screen.folder}/data")
    screen.wait_for("data set.csv")  # in the menu
    screen.type("\t")
    screen.wait_for(r"\ set.csv")  # in the line, as the shell reads it
    screen.type("\r")
    screen.wait_for(f"File uploaded: {PATH}")
    for typed in ("get ", "get /ip", "get bafkreiby", "isvalid /ipfs/bafk"):
        screen.wait_for("peersdb>")
        screen.type(typed)
        screen.wait_for("data set.csv")  # in the menu, beside the path
        screen.type("\t\r")
        screen.wait_for("judged here" if typed.startswith("is") else f"stored {PATH} successfully")


def test_a_script_is_answered_as_ever_also_where_the_output_is_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(CONTENT)
    script = f"help\nquery\npeers\npost {tmp_path}/x.csv\nget {PATH}\nisvalid {PATH}\nquery limit=1\n"
    lines = run_shell(tmp_path, script, "-root")
    assert lines[:11] == [
        "post <file>       share a file",
        "get <path>        fetch a file by its path (/ipfs/<cid>) into the download directory",
        "query             list all contributions",
        "connect <addr>    connect to a peer (/ip4/…/tcp/…/p2p/<peer id>)",
        "peers             the peers this node is connected to",
        "status            this node's state",
        "benchmark         this node's benchmark",
        "help              this list",
        "exit              stop the node",
        "(none)",
        "(none)",
    ]
    target = tmp_path / "got" / PATH.removeprefix("/ipfs/")
    assert lines[11:13] == ["File uploaded", f"stored {PATH} successfully under {target}"]
    assert lines[13:17] == ["{", f'  "path": "{PATH}",', '  "isValid": true,', '  "voteCnt": 0,']
    end = lines.index("}")
    assert json.loads("\n".join(lines[13 : end + 1]))["decidedBy"] == "own"
    assert re.fullmatch(rf"{PATH}  12D3Koo\w+  20\S+Z", lines[end + 1])
    assert len(lines) == end + 2
