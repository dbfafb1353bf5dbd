"""Running programs and waiting for what they bring about."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from cluster.errors import CommandFailed, HarnessError, NotReady, ProgramEnded

#: A command that takes longer hangs; builds say how long theirs may take.
PATIENCE = 120.0
#: Between two looks at a condition of another process, seconds.
LOOK = 0.05

T = TypeVar("T")


def run(
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = PATIENCE,
) -> str:
    """Run a program to its end.

    Args:
        argv: the program and its arguments.
        stdin: what it reads; nothing by default.
        env: variables beside those of this process.
        cwd: where it runs.
        timeout: seconds until it is killed.

    Returns:
        its standard output.

    Raises:
        CommandFailed: it ended with an error, took too long or is not installed.
    """
    try:
        done = subprocess.run(
            argv,
            input=stdin if stdin is not None else "",
            env={**os.environ, **(env or {})},
            cwd=cwd,
            timeout=timeout,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise CommandFailed(argv, 127, f"{error.filename} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(argv, 124, f"it took longer than {timeout:.0f} s and was ended") from error
    if done.returncode != 0:
        raise CommandFailed(argv, done.returncode, done.stderr or done.stdout)
    return done.stdout


def wait_for(look: Callable[[], T | None], what: str, timeout: float, *, pause: float = LOOK) -> T:
    """Wait until ``look`` gives something true.

    Args:
        look: asked again and again; a `HarnessError` that it raises counts as "not yet", but for `ProgramEnded`.
        what: what is waited for, as the message tells it.
        timeout: seconds until the wait is given up.
        pause: seconds between two looks.

    Returns:
        what ``look`` gave.

    Raises:
        NotReady: with the last error, if there was one.
    """
    deadline = time.monotonic() + timeout
    last = ""
    while True:
        try:
            seen = look()
        except ProgramEnded:
            raise
        except HarnessError as error:
            last = f"; the last error was: {error}"
        else:
            if seen:
                return seen
        if time.monotonic() > deadline:
            raise NotReady(f"{what}: not within {timeout:.0f} s{last}")
        time.sleep(pause)


@contextlib.contextmanager
def step(name: str) -> Iterator[None]:
    """Say on standard error that a step begins, and how many seconds it took."""
    start = time.monotonic()
    try:
        yield
    except BaseException:
        say(f"{name:<44} failed after {time.monotonic() - start:.1f} s")
        raise
    say(f"{name:<44} {time.monotonic() - start:6.1f} s")


def say(line: str) -> None:
    """Write a line for people; standard output is for what a shell evaluates."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
