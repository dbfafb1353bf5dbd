"""The shell: from a pipe, and at a prompt."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract_nodes import (
    START_TIMEOUT,
    STOP_TIMEOUT,
    Node,
    Nodes,
    clean_environment,
    eventually,
    free_port,
)

pytestmark = pytest.mark.processes


def shell_arguments(folder: Path, *flags: str) -> list[str]:
    own = ["-shell", "-repo", str(folder / "shell"), "-download-dir", str(folder / "got"), "-ipfs-port", "0"]
    return [sys.executable, "-m", "peersdb", *own, *flags]


def run_shell(folder: Path, script: str, *flags: str) -> list[str]:
    """The lines a shell answers to a script on its standard input."""
    result = subprocess.run(
        shell_arguments(folder, *flags),
        input=script,
        text=True,
        capture_output=True,
        timeout=START_TIMEOUT,
        check=False,
        env=clean_environment(),
    )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    return result.stdout.splitlines()


def test_a_script_of_commands_runs_and_errors_do_not_end_it(tmp_path: Path) -> None:
    (tmp_path / "data set.csv").write_bytes(b"runtime\n12.5\n")
    script = f"""
        # a comment
        query
        post "{tmp_path}/data set.csv"
        post {tmp_path}/nothing.csv
        post {tmp_path}
        post
        query
        drop
        get /ipfs/nonsense
        connect /ip4/127.0.0.1/tcp/{free_port()}/p2p/12D3KooWLesyjPYDf3pj9TUJCcZuid3cG5w1GQ9AEafrbyJGTuT2
        connect
        "unbalanced
        peers
        benchmark
        help
        status
    """
    lines = run_shell(tmp_path, script, "-root")
    assert lines[:2] == ["(none)", "File uploaded"]
    assert lines[2] == f"error: cannot read {tmp_path}/nothing.csv: No such file or directory"
    assert lines[3] == f"error: cannot read {tmp_path}: Is a directory"
    assert lines[4] == "error: post takes one argument, the file: 0 given"
    path, contributor, created = lines[5].split()
    assert re.fullmatch(r"/ipfs/\w{59} 12D3Koo\w+ 20\S+Z", f"{path} {contributor} {created}")
    assert lines[6].startswith("error: unknown command 'drop'")
    assert lines[7].startswith("error: ")
    assert lines[8].startswith("error: peer 12D3KooWLesyjPYDf3pj9TUJCcZuid3cG5w1GQ9AEafrbyJGTuT2 at ")
    assert lines[9] == "error: connect takes one argument, the multiaddr: 0 given"
    assert lines[10] == "error: No closing quotation"
    assert lines[11:13] == ["(none)", "Benchmark is not enabled, use -benchmark to do so"]
    assert [line.split()[0] for line in lines[13:22]] == [
        *("post", "get", "query", "connect", "peers", "status", "benchmark", "help", "exit")
    ]
    status = json.loads("\n".join(lines[22:]))
    assert (status["entries"], status["peerId"]) == (1, contributor)

    again = run_shell(tmp_path, f"get {path}\nexit\nquery\n")
    assert again == [f"stored {path} successfully under {tmp_path}/got/{path.removeprefix('/ipfs/')}"]
    assert Path(tmp_path, "got", path.removeprefix("/ipfs/")).read_bytes() == b"runtime\n12.5\n"


def test_a_shell_connects_and_lists_its_peers(cluster: list[Node], tmp_path: Path) -> None:
    root = cluster[0]
    root.post(b"for the shell")
    lines = run_shell(tmp_path, f"connect {root.multiaddr}\npeers\n", "-region", "home")
    assert lines[0] == "Peer id processed"
    assert lines[1].split()[0] == root.status()["peerId"]


def test_the_end_of_the_input_leaves_http_running_and_exit_ends_both(nodes: Nodes) -> None:
    for word, lives in ((b"status\n", True), (b"exit\n", False)):
        node = nodes.make(f"root-{lives}", "-root", "-shell")
        with node.log_file.open("wb") as log:
            node.process = subprocess.Popen(
                [sys.executable, "-m", "peersdb", *node.arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=clean_environment(),
            )
        assert node.process.stdin is not None
        node.wait_ready()
        node.process.stdin.write(word)
        node.process.stdin.close()
        if lives:
            node.post(b"after the end of the input")
            node.stop()
        else:
            node.wait_end()


def test_a_signal_ends_a_node_whose_shell_waits_for_input(nodes: Nodes) -> None:
    node = nodes.make("root", "-root", "-shell")
    with node.log_file.open("wb") as log:
        node.process = subprocess.Popen(
            [sys.executable, "-m", "peersdb", *node.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env=clean_environment(),
        )
    with node.process.stdin or contextlib.nullcontext():
        node.wait_ready()
        node.stop()
    assert "Fatal" not in node.log()


class Terminal:
    """A shell on a terminal of its own."""

    def __init__(self, folder: Path, *flags: str, columns: int = 100) -> None:
        self.folder = folder
        self.master, self.slave = pty.openpty()
        termios.tcsetwinsize(self.slave, (24, columns))
        self.modes = termios.tcgetattr(self.slave)
        self.seen = ""
        self.process = subprocess.Popen(
            shell_arguments(folder, *(flags or ("-root",))),
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env=clean_environment(TERM="xterm"),
            start_new_session=True,
        )

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def wait_for(self, text: str) -> str:
        """Until the text is shown; gives what was shown up to it, without control sequences."""
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.seen)
            if text in plain:
                shown, _, self.seen = plain.partition(text)
                return shown + text
            readable, _, _ = select.select([self.master], [], [], max(0, deadline - time.monotonic()))
            assert readable, f"{text!r} was not shown; seen: {plain!r}"
            part = os.read(self.master, 65536).decode(errors="replace")
            self.seen += part
            if "\x1b[6n" in part:  # the prompt asks where the cursor is
                self.type("\x1b[1;1R")

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    shown = Terminal(tmp_path)
    yield shown
    shown.end()


def test_a_terminal_has_a_prompt_completion_history_and_exit(terminal: Terminal) -> None:
    terminal.wait_for("peersdb>")
    terminal.type("query\r")
    terminal.wait_for("(none)")
    terminal.wait_for("peersdb>")
    terminal.type("\x03")  # Ctrl-C drops the line and not the node
    terminal.wait_for("peersdb>")
    terminal.type("be")
    terminal.wait_for("benchmark")  # in the menu
    terminal.type("\t")
    terminal.wait_for("nchmark")  # in the line
    terminal.type("\r")
    terminal.wait_for("use -benchmark to do so")
    terminal.wait_for("peersdb>")
    terminal.type("exit\r")
    assert terminal.process.wait(STOP_TIMEOUT) == 0
    history = (terminal.folder / "shell" / "shell_history").read_text()
    assert [line for line in history.splitlines() if line.startswith("+")] == [
        "+query",
        "+benchmark",
        "+exit",
    ]
    assert termios.tcgetattr(terminal.slave) == terminal.modes


@pytest.mark.parametrize("end", ["Ctrl-D", "SIGTERM"])
def test_a_terminal_is_left_as_it_was(terminal: Terminal, end: str) -> None:
    terminal.wait_for("peersdb>")
    eventually(
        lambda: termios.tcgetattr(terminal.slave), "line editing", until=lambda modes: modes != terminal.modes
    )
    if end == "Ctrl-D":
        terminal.type("\x04")
    else:
        terminal.process.send_signal(signal.SIGTERM)
    assert terminal.process.wait(STOP_TIMEOUT) == 0
    assert termios.tcgetattr(terminal.slave) == terminal.modes
