"""The client as a program: from a command line to an exit status."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

from peersdb import __version__
from peersdb.client.arguments import endpoint, parse, read_token
from peersdb.client.commands import run
from peersdb.client.errors import Failed, Misused
from peersdb.client.transport import Api
from peersdb.terminal.text import printable


def main(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Runs one command and gives the exit status; failures are one line on the standard error.

    Args:
        argv: the arguments without the program's name, the first one of `peersdb.client.COMMANDS`.
        env: the environment.
    """
    out = sys.stdout
    try:
        return _run(argv, env, out)
    except KeyboardInterrupt:
        return _quiet(out, signal.SIGINT)
    except Misused as error:
        return _say(out, str(error), 2)
    except Failed as error:
        return _say(out, f"{error} ({error.code})", 1)
    except BrokenPipeError:  # transport maps those of the network
        return _quiet(out, signal.SIGPIPE)
    except OSError as error:
        _drop(out)
        return _say(None, f"cannot write the output: {error.strerror} (output)", 1)


def _run(argv: Sequence[str], env: Mapping[str, str], out: TextIO | None) -> int:
    if out is None:  # as `peersdb query >&-` has it
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    if isinstance(out, io.TextIOWrapper):
        out.reconfigure(errors="backslashreplace")  # a name that this locale has no letters for
    try:
        given = parse(argv, env)
    except SystemExit:  # the help is printed
        out.flush()
        return 0
    token = None if given.api_token_file is None else read_token(given.api_token_file)
    status = run(Api(endpoint(given.api), token, __version__), given, out)
    out.flush()
    return status


def _say(out: TextIO | None, message: str, status: int) -> int:
    """One line on the standard error, after what was printed."""
    try:
        if out is not None:
            out.flush()
    except OSError:  # the message tells more than that nobody reads the output
        _drop(out)
    if sys.stderr is not None:
        with contextlib.suppress(OSError):  # then the status alone tells it
            sys.stderr.write(f"peersdb: {printable(message)}\n")
    return status


def _quiet(out: TextIO | None, number: signal.Signals) -> int:
    """The status of a program that a signal ended, as shells count."""
    _drop(out)
    return 128 + number


def _drop(out: TextIO | None) -> None:
    """Sends what is left in the buffer nowhere: Python would try again at its end, and complain."""
    if out is None:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with contextlib.suppress(OSError, ValueError):
        os.dup2(nowhere, out.fileno())
    os.close(nowhere)
