"""The client as a program: from a command line to an exit status."""

from __future__ import annotations

import contextlib
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
from peersdb.client.text import printable
from peersdb.client.transport import Api


def main(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Runs one command and gives the exit status; failures are one line on the standard error.

    Args:
        argv: the arguments without the program's name, the first one of `peersdb.client.COMMANDS`.
        env: the environment.
    """
    out = sys.stdout
    try:
        if isinstance(out, io.TextIOWrapper):
            out.reconfigure(errors="backslashreplace")  # a name that this locale has no letters for
        given = parse(argv, env)
        token = None if given.api_token_file is None else read_token(given.api_token_file)
        status = run(Api(endpoint(given.api), token, __version__), given, out)
        out.flush()
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
        return _say(out, f"cannot write the output: {error.strerror} (output)", 1)
    return status


def _say(out: TextIO, message: str, status: int) -> int:
    """One line on the standard error, after what was printed."""
    with contextlib.suppress(OSError):  # it is said as far as it can be; the status tells it anyway
        out.flush()
        sys.stderr.write(f"peersdb: {printable(message)}\n")
    return status


def _quiet(out: TextIO, number: signal.Signals) -> int:
    """The status of a program that a signal ended, as shells count."""
    _drop(out)
    return 128 + number


def _drop(out: TextIO) -> None:
    """Sends what is left in the buffer nowhere: Python would try again at its end, and complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with contextlib.suppress(OSError, ValueError):
        os.dup2(nowhere, out.fileno())
    os.close(nowhere)
