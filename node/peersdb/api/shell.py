"""The shell: the same commands at a prompt, or from a pipe, one a line."""

from __future__ import annotations

import json
import shlex
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import trio

from peersdb.api.commands import Commands, check_arguments
from peersdb.errors import BadRequest, PeersDBError

HELP = """\
post <file>       share a file
get <path>        fetch a file by its path (/ipfs/<cid>) into the download directory
query             list all contributions
connect <addr>    connect to a peer (/ip4/…/tcp/…/p2p/<peer id>)
peers             the peers this node is connected to
status            this node's state
benchmark         this node's benchmark
help              this list
exit              stop the node"""


class Shell:
    """Reads commands in a worker thread and runs them on the node."""

    def __init__(self, commands: Commands, source: TextIO, out: Callable[[str], None], history: Path) -> None:
        """A shell over ``source``; with line editing where that is a terminal.

        Args:
            commands: the node's.
            source: where the lines come from.
            out: prints one answer.
            history: file of the lines typed before.
        """
        self._commands, self._source, self._out, self._history = commands, source, out, history

    async def run(self) -> bool:
        """Serves until ``exit`` (True) or the end of the input (False)."""
        if not self._source.isatty():
            return await self._serve(iter(self._source))
        with _terminal_left_as_it_was(self._source):
            return await self._serve(self._prompt())

    async def _serve(self, lines: Iterator[str]) -> bool:
        while True:
            # A signal does not wait for a line: the thread that reads is left behind.
            line = await trio.to_thread.run_sync(next, lines, None, abandon_on_cancel=True)
            if line is None:
                return False
            try:
                words = shlex.split(line, comments=True)
            except ValueError as error:
                self._out(f"error: {error}")
                continue
            if not words:
                continue
            if words[0] == "exit":
                return True
            try:
                self._out(await self._answer(words[0], words[1:]))
            except PeersDBError as error:
                self._out(f"error: {error}")

    async def _answer(self, name: str, args: list[str]) -> str:
        if name == "help":
            return HELP
        if name == "peers":
            return _table(
                [
                    [p["peerId"], p["region"], "root" if p["root"] else ""]
                    for p in (await self._status())["peers"]
                ]
            )
        if name == "status":
            return json.dumps(await self._status(), indent=2, ensure_ascii=False)
        command = self._commands.find(name)
        if name == "post":
            return str(await command.run(*await _file(args)))
        result = await command.run(*check_arguments(command, args))
        if name == "query":
            return _table([[row["path"], row["contributor"], row["creationTS"]] for row in result])
        return result if isinstance(result, str) else json.dumps(result, indent=2)

    async def _status(self) -> dict[str, Any]:
        return await self._commands.node.status()

    def _prompt(self) -> Iterator[str]:
        from prompt_toolkit import PromptSession  # noqa: PLC0415 - 15 MB that only a terminal needs
        from prompt_toolkit.completion import WordCompleter  # noqa: PLC0415
        from prompt_toolkit.history import FileHistory  # noqa: PLC0415
        from prompt_toolkit.patch_stdout import patch_stdout  # noqa: PLC0415

        words = [line.split()[0] for line in HELP.splitlines()]
        session: Any = PromptSession(history=FileHistory(str(self._history)), completer=WordCompleter(words))
        while True:
            try:
                with patch_stdout(raw=True):
                    line = session.prompt("peersdb> ")
            except KeyboardInterrupt:
                continue
            except EOFError:
                yield "exit"
                return
            yield line


async def _file(args: list[str]) -> tuple[bytes, str]:
    if len(args) != 1:
        raise BadRequest(f"post takes one argument, the file: {len(args)} given")
    try:
        path = await trio.Path(args[0]).expanduser()
        return await path.read_bytes(), path.name
    except (OSError, RuntimeError) as error:
        raise BadRequest(f"cannot read {args[0]}: {getattr(error, 'strerror', error)}") from error


@contextmanager
def _terminal_left_as_it_was(terminal: TextIO) -> Iterator[None]:
    """Undoes what line editing sets, which a prompt that a signal left behind does not."""
    modes = termios.tcgetattr(terminal)
    try:
        yield
    except trio.Cancelled:
        sys.stdout.write("\x1b[?2004l\n")  # bracketed paste off, and off the prompt's line
        sys.stdout.flush()
        raise
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, modes)


def _table(rows: list[list[str]]) -> str:
    """Aligned columns; an empty list says so."""
    if not rows:
        return "(none)"
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def print_line(text: str) -> None:
    """Prints an answer at once, also into a pipe."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
