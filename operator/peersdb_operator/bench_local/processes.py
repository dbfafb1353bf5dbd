"""The processes of one benchmark: they end with the block that started them, and with this process if it is killed."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from peersdb_operator.errors import BenchmarkError
from peersdb_operator.local import process
from peersdb_operator.local.logfile import tail

TAIL_LINES = 15
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC: Any = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_FOREIGN = ("PEERSDB_", "LOADTEST_", "LOCUST_")
"""Beginnings of variables that would say otherwise than the manifest."""


@dataclass(frozen=True, slots=True)
class Child:
    """One process.

    Attributes:
        name: what a message calls it.
        popen: to wait for it.
        log: its output.
    """

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    def code(self) -> int | None:
        """Give its exit code once it has ended."""
        return self.popen.poll()

    def last_words(self, what: str) -> str:
        """Give a message with the end of its log."""
        lines = tail(self.log, TAIL_LINES)
        return "\n".join(
            [what, *([f"the end of {self.log}:"] if lines else []), *(f"  | {it}" for it in lines)]
        )


@dataclass(slots=True)
class Children:
    """All processes of one benchmark that run."""

    _all: list[Child] = field(default_factory=list)

    def start(self, name: str, command: Sequence[str], log: Path, directory: Path) -> Child:
        """Start one.

        Raises:
            BenchmarkError: it cannot be started.
        """
        environment = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
        try:
            with log.open("ab") as output:
                popen = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=directory,
                    env=environment,
                    start_new_session=True,
                    preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509 - this program has one thread
                )
        except OSError as error:
            raise BenchmarkError(f"{name} cannot be started: {error.strerror}: {error.filename}") from error
        child = Child(name, popen, log)
        self._all.append(child)
        return child

    def end(self, children: Sequence[Child] | None = None) -> None:
        """End some, or all, with what they started: SIGTERM, a wait, SIGKILL."""
        ending = list(self._all if children is None else children)
        known = [found for child in ending if (found := process.identify(child.popen.pid)) is not None]
        process.end(known)
        for child in ending:
            child.popen.wait()
            if child in self._all:
                self._all.remove(child)


@contextmanager
def children() -> Iterator[Children]:
    """Keep processes while the block runs; whatever ends it ends them, and a second Ctrl-C does not stop that."""
    started = Children()
    try:
        yield started
    finally:
        with undisturbed():
            started.end()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put off what asks this process to end until the block is done, which must not take long."""
    heard: list[int] = []

    def hear(number: int, _frame: FrameType | None) -> None:
        heard.append(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, hear) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if heard:
        raise KeyboardInterrupt


def load_command(given: Sequence[str]) -> tuple[str, ...]:
    """Give the load test's program with what comes before its options.

    Args:
        given: the user's choice; empty for the load tests installed beside this program.

    Raises:
        BenchmarkError: there is no such program.
    """
    if given:
        found = shutil.which(given[0])
        if found is None:
            raise BenchmarkError(f"there is no program {given[0]!r}: give --load-command one that exists")
        return (str(Path(found).absolute()), *given[1:])
    spec = importlib.util.find_spec("loadtests")
    if spec is None or not spec.submodule_search_locations or importlib.util.find_spec("locust") is None:
        raise BenchmarkError("the load tests are not installed here: pip install 'peersdb[loadtests]'")
    locustfile = Path(spec.submodule_search_locations[0]) / "locustfile.py"
    return (sys.executable, "-P", "-m", "locust", "-f", str(locustfile))  # -P: nothing from where it runs


def free_ports(count: int) -> list[int]:
    """Give ports of the loopback that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports


def _die_with(parent: int) -> Callable[[], None] | None:
    """What a child does before its program: the kernel is asked to end it with its parent, even if that is killed."""
    if _LIBC is None:
        return None

    def ask_kernel() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it was gone before the request
            os._exit(1)

    return ask_kernel
