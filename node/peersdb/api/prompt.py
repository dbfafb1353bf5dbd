"""The shell's prompt: line editing, history, and completion of commands, files and known paths."""

from __future__ import annotations

import re
import sys
import termios
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import trio
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory
from prompt_toolkit.patch_stdout import patch_stdout

from peersdb.api.answers import HELP
from peersdb.api.commands import Commands
from peersdb.errors import PeersDBError
from peersdb.terminal.text import printable

#: Paths offered at once: a menu with more is not read.
OFFERED = 50
#: What all paths begin with.
PREFIX = "/ipfs/"

#: Gives paths that begin with a text, and their names.
Known = Callable[[str], Iterable[tuple[str, str | None]]]


def prompt(history: Path, commands: Commands, token: trio.lowlevel.TrioToken) -> Iterator[str]:
    """Lines as they are typed, for a thread of its own; the end of the input is ``exit``.

    Args:
        history: file of the lines typed before.
        commands: the node's, asked for what completes a line.
        token: of the node's event loop.
    """

    def known(start: str) -> list[tuple[str, str | None]]:
        try:
            return trio.from_thread.run(
                commands.node.contributions.known_paths, start, OFFERED, trio_token=token
            )
        except (PeersDBError, trio.RunFinishedError, trio.Cancelled):  # the node is stopping
            return []

    session: Any = PromptSession(history=FileHistory(str(history)), completer=ShellCompleter(known))
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


class ShellCompleter(Completer):
    """Completes a command, and then what it takes."""

    def __init__(self, known: Known) -> None:
        """Paths come from ``known``."""
        self._known = known
        self._files = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """What the word before the cursor may become."""
        before = document.text_before_cursor.lstrip()
        # A blank after a backslash belongs to the word, as the shell reads it.
        found = re.fullmatch(r"(\S+)\s+((?:\\.|[^\\\s])*\\?)", before)
        if found is None:
            if not re.search(r"\s", before):
                words = [name.split()[0] for name, _ in HELP]
                yield from (Completion(word, -len(before)) for word in words if word.startswith(before))
        elif found[1] == "post":
            yield from self._complete_file(found[2], complete_event)
        elif found[1] in ("get", "isvalid", "validate"):
            yield from self._complete_path(found[2])

    def _complete_file(self, word: str, event: CompleteEvent) -> Iterator[Completion]:
        typed = re.sub(r"\\(.)", r"\1", word)
        for one in self._files.get_completions(Document(typed), event):
            escaped = re.sub(r"([^\w@%+=:,./~-])", r"\\\1", one.text)
            yield Completion(escaped, one.start_position, display=one.display)

    def _complete_path(self, word: str) -> Iterator[Completion]:
        start = word if word.startswith("/") else PREFIX + word
        for path, name in self._known("" if PREFIX.startswith(start) else start):
            yield Completion(path, -len(word), display_meta=printable(name))


@contextmanager
def terminal_left_as_it_was(terminal: TextIO) -> Iterator[None]:
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
