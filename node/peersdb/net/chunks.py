"""Bytes on their way, kept in the pieces they came in.

A buffer that is one bytearray copies each byte when it comes, again when it is taken, and moves what is left.
Here a large piece is only passed on; it is copied once, when what was asked for is put together.
"""

from __future__ import annotations

import struct
from collections import deque
from itertools import islice
from typing import Any

Piece = bytes | bytearray | memoryview

#: A piece of at least this size is kept as it is. It may be a view of a message of 64 KiB, which it keeps in memory,
#: so a sender can make a reader hold four times what it sent. Smaller ones are copied together.
WHOLE = 16 * 1024


class Chunks:
    """A queue of bytes."""

    __slots__ = ("_pieces", "_size", "_start")

    def __init__(self) -> None:
        """Empty."""
        self._pieces: deque[Piece] = deque()
        self._start = 0  # what is taken already of the first piece
        self._size = 0

    def __len__(self) -> int:
        """The bytes in it."""
        return self._size

    def extend(self, data: Piece) -> None:
        """Puts bytes at the end. A large piece is not copied: its owner must not change it any more."""
        size = len(data)
        if size >= WHOLE:
            self._pieces.append(data)
        elif size:
            last = self._pieces[-1] if self._pieces else None
            if type(last) is bytearray and len(last) < WHOLE:
                last += data
            else:
                self._pieces.append(bytearray(data))
        self._size += size

    def peek(self, layout: struct.Struct) -> tuple[Any, ...] | None:
        """The fields at the front, which stay there; None as long as they are not all there."""
        if self._size < layout.size:
            return None
        first = self._pieces[0]
        if len(first) - self._start >= layout.size:
            return layout.unpack_from(first, self._start)
        front = bytearray(memoryview(first)[self._start :])
        for piece in islice(self._pieces, 1, None):
            front += memoryview(piece)[: layout.size - len(front)]
        return layout.unpack(front)

    def pieces(self, size: int) -> list[Piece]:
        """Takes ``size`` bytes, of which there must be so many, from the front, in pieces."""
        self._size -= size
        taken: list[Piece] = []
        while size:
            first = self._pieces[0]
            end = self._start + size
            if len(first) <= end:
                taken.append(memoryview(first)[self._start :] if self._start else first)
                size = end - len(first)
                self._pieces.popleft()
                self._start = 0
            else:
                view = memoryview(first)[self._start : end]
                # A bytearray may still grow at its end, which it cannot while somebody looks at it.
                taken.append(bytes(view) if type(first) is bytearray else view)
                self._start, size = end, 0
        return taken

    def take(self, size: int) -> bytes:
        """Takes ``size`` bytes, of which there must be so many, from the front."""
        taken = self.pieces(size)
        return taken[0] if len(taken) == 1 and type(taken[0]) is bytes else b"".join(taken)

    def clear(self) -> None:
        """Drops all."""
        self._pieces.clear()
        self._start = self._size = 0
