"""Drives a rival's nodes through the measures: ``python drive.py DIRECTORY ENTRIES files|no COMMAND...``.

Runs inside the network that the nodes share; the command gets each node's directory as its last argument. Prints the
figures as JSON, in the units of our own rows.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

MIB = 1024 * 1024
FILE = 64 * MIB
#: Entries of the sequential add and of the smaller log, and of the live measure.
FEW, LIVE = 1000, 200


class Node:
    """One node as a process."""

    def __init__(self, command: list[str], directory: Path) -> None:
        """Starts it; ``started`` is how long (seconds) that took until it answered."""
        directory.mkdir()
        begin = time.monotonic()
        self._process = subprocess.Popen(
            [*command, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()
        self.started = time.monotonic() - begin

    def ask(self, command: str, *args: Any) -> Any:
        """Runs a command and gives its answer."""
        if self._process.stdin is None:
            raise SystemExit("a node has no standard input")
        try:
            self._process.stdin.write(json.dumps([command, *args]) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise SystemExit("a node ended") from None
        return self._answer()

    def _answer(self) -> Any:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise SystemExit("a node ended")
        return json.loads(line)

    def memory(self) -> float:
        """MiB in use."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / MIB

    def stop(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()


def measure(command: list[str], directory: Path, entries: int, *, files: bool) -> dict[str, float]:
    """All figures, by the keys of our own rows."""
    found: dict[str, float] = {}
    writer = Node(command, directory / "writer")
    nodes = [writer]
    try:
        found["start"] = writer.started
        time.sleep(1)
        found["idle memory"] = writer.memory()
        ticket = writer.ask("create")
        found["add"] = FEW / writer.ask("add", FEW)
        for count in dict.fromkeys((FEW, max(FEW, entries))):
            writer.ask("add", count - writer.ask("count"))
            nodes.append(newcomer := Node(command, directory / f"newcomer-{count}"))
            found[f"new peer {count}"] = newcomer.ask("join", ticket, count)
        found |= _live(writer, nodes[-1])
        if files:
            found |= _file(writer, nodes[-1], directory)
    finally:
        for node in nodes:
            node.stop()
    return found


def _live(writer: Node, reader: Node) -> dict[str, float]:
    reader.ask("listen")
    delays = []
    for _ in range(LIVE):
        written = writer.ask("add_one")
        delays.append((reader.ask("seen") - written) * 1e3)
    return {"live median": statistics.median(delays), "live p99": statistics.quantiles(delays, n=100)[98]}


def _file(source: Node, sink: Node, directory: Path) -> dict[str, float]:
    file, target = directory / "file", directory / "fetched"
    file.write_bytes(os.urandom(FILE))
    seconds, ticket = source.ask("share", str(file))
    fetched = sink.ask("fetch", ticket, str(target))
    if hashlib.sha256(target.read_bytes()).digest() != hashlib.sha256(file.read_bytes()).digest():
        raise SystemExit("the file is not what was shared")
    return {"file in": FILE / 1e6 / seconds, "file from a peer": FILE / 1e6 / fetched}


if __name__ == "__main__":
    place, number, with_files, *program = sys.argv[1:]
    figures = measure(program, Path(place), int(number), files=with_files == "files")
    print(json.dumps(figures))
