"""What a validator gets and gives. Imported by every child, so it imports the standard library alone."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

Verdict = Literal["valid", "invalid", "error", "abstain"]

#: Bytes of a buffer of `File.open`.
BUFFER = 1024 * 1024
#: A reason's characters: it is kept with each judgement, logged and sent to those who ask.
MAX_REASON = 300


class OptionsError(ValueError):
    """The options of a validator are wrong: its verdict is ``error`` with this reason."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a validator found out.

    Attributes:
        verdict: ``valid``, ``invalid``, or ``abstain`` when it cannot say.
        reason: what is wrong and where, in one line.
    """

    verdict: Verdict
    reason: str = ""


def valid(reason: str = "") -> Finding:
    """The file is what it should be."""
    return Finding("valid", reason)


def invalid(reason: str) -> Finding:
    """The file is not what it should be; `reason` says what and where."""
    return Finding("invalid", reason)


def abstain(reason: str) -> Finding:
    """This validator cannot say; `reason` says why."""
    return Finding("abstain", reason)


def one_line(text: str) -> str:
    """A reason as it is kept: one line of what can be printed, not longer than `MAX_REASON`."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text[: 8 * MAX_REASON]).split())
    return line if len(line) <= MAX_REASON else line[: MAX_REASON - 1] + "…"


class _Reader(io.RawIOBase):
    """Reads a descriptor from a place of its own: several readers of one file do not disturb each other."""

    def __init__(self, fd: int, name: str) -> None:
        super().__init__()
        self._fd, self._place, self.name = fd, 0, name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        count = os.preadv(self._fd, [buffer], self._place)
        self._place += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: os.fstat(self._fd).st_size}[whence]
        if base + offset < 0:
            raise ValueError(f"cannot seek to {base + offset}")
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        return self._place


@dataclass(frozen=True, slots=True)
class File:
    """The file to judge, open for reading.

    Attributes:
        fd: its descriptor; closed by nobody.
        name: the contribution's file name, or empty: contributions need not have one. Whoever shared the file chose
            it.
        media_type: by its name, or by its first bytes where the name says nothing.
        size: bytes.
        scratch: an empty folder to write into, emptied afterwards; the only place that can be written to.
    """

    fd: int
    name: str
    media_type: str
    size: int
    scratch: Path

    @property
    def path(self) -> str:
        """For libraries that insist on a path. It has no suffix: say what the format is."""
        return f"/proc/self/fd/{self.fd}"

    def open(self) -> BinaryIO:
        """A new buffered reader from the first byte."""
        return io.BufferedReader(_Reader(self.fd, self.name), BUFFER)

    def head(self, size: int = 64 * 1024) -> bytes:
        """The first bytes, `size` at most."""
        return os.pread(self.fd, size, 0)
