"""The shell: the same commands at a prompt, or from a pipe, one a line."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import trio

from peersdb.api.answers import Answers
from peersdb.api.commands import Commands
from peersdb.errors import PeersDBError


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
        plain = Answers(self._commands, self._out)
        if not self._source.isatty():
            return await self._serve(iter(self._source), plain)
        from peersdb.api.prompt import prompt, terminal_left_as_it_was  # noqa: PLC0415 - 15 MB for a terminal alone

        with terminal_left_as_it_was(self._source):
            lines = prompt(self._history, self._commands, trio.lowlevel.current_trio_token())
            return await self._serve(lines, self._screen() if sys.stdout.isatty() else plain)

    def _screen(self) -> Answers:
        from peersdb.api.screen import Screen  # noqa: PLC0415 - rich, for a terminal alone

        return Screen(self._commands, self._out)

    async def _serve(self, lines: Iterator[str], answers: Answers) -> bool:
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
                await answers.give(words[0], words[1:])
            except PeersDBError as error:
                self._out(f"error: {error}")


def print_line(text: str) -> None:
    """Prints an answer at once, also into a pipe."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
