"""Child processes that never outlive their parent.

Three nets, each for another end: the context manager's exit (a run that ends, an exception, Ctrl-C), the
kernel's parent-death signal (the parent was killed by -9), and a process group of its own, so that a Ctrl-C
at the terminal reaches the parent alone and the child is ended in order, by its id.

Plain ``subprocess``: under locust it is gevent's, which waits cooperatively.
"""

import contextlib
import ctypes
import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1  # linux/prctl.h
# A node promises to stop within 5 s of SIGTERM.
STOP_SECONDS = 8.0

# Linux takes ports for outgoing connections from 32768 on (net.ipv4.ip_local_port_range).
PORTS = range(20_000, 32_000)
PORT_TRIES = 100

# Loaded here, not between fork and exec, where little is safe.
_LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> Callable[[], None]:
    """What a child does between fork and exec so that the kernel ends it with ``parent`` (a process id)."""

    def ask_kernel() -> None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it was gone before the request
            os._exit(1)

    return ask_kernel


@contextlib.contextmanager
def child(
    command: Sequence[str], *, log: Path | None = None, cwd: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command while the block runs; afterwards it is gone.

    Args:
        command: program and arguments.
        log: takes its output; by default that goes where the parent's goes.
        cwd: its working directory.

    Raises:
        OSError: the command cannot be started.
    """
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(log.open("wb")) if log else None
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output and subprocess.STDOUT,
            cwd=cwd,
            start_new_session=True,
            preexec_fn=die_with_parent(os.getpid()),  # noqa: PLW1509  # one prctl, loaded before the fork
        )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes], *, seconds: float = STOP_SECONDS) -> int:
    """End a process: SIGTERM, and SIGKILL to its group after ``seconds``. Returns its exit code."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # it leads a group of its own
    return process.wait()


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on, from below the range that outgoing connections take theirs from.

    Raises:
        OSError: so many tries found none free.
    """
    for _ in range(PORT_TRIES):
        port = PORTS.start + secrets.randbelow(len(PORTS))
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
        return port
    raise OSError(f"{PORT_TRIES} ports tried in {PORTS.start} to {PORTS.stop - 1}, none is free")


def tail(log: Path, lines: int = 5) -> str:
    """The last lines of a log file, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return "(no output)"
    return "\n".join(text.strip().splitlines()[-lines:]) or "(no output)"
