"""Records out of the pages of a SQLite file, without its trees: what a damaged page does not hold is still found.

SQLite reads a table from its root; one damaged page on the way hides all that lies below it. Here each page is looked
at by itself (https://www.sqlite.org/fileformat2.html): a page that reads as a leaf, or as the inside of an index (which
holds rows too), gives its records. A page that was freed may give old ones, so whoever asks checks what he gets.
Nothing here trusts a number that it read.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

#: What this program's databases have; SQLite's default since 2016.
PAGE = 4096
#: A longer record is none of ours: an entry and a block have 16 KiB at most.
MAX_PAYLOAD = 256 * 1024

_TABLE_LEAF, _INDEX_LEAF, _TABLE_INNER, _INDEX_INNER = 0x0D, 0x0A, 0x05, 0x02
#: What reading by a wrong number raises.
_UNREADABLE = (IndexError, ValueError, struct.error)
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_WAL_HEADER, _FRAME_HEADER = 32, 24

Value = int | float | str | bytes | None


@dataclass(frozen=True, slots=True)
class Record:
    """One record.

    Attributes:
        page: where it lies.
        rowid: of a table's row; None in an index, and in a table without rowids, which is stored as one.
        values: as stored, so the column that is the rowid is None.
    """

    page: int
    rowid: int | None
    values: tuple[Value, ...]


#: Gives so many bytes of a file from a place on; fewer where it ends or cannot be read.
Read = Callable[[int, int], bytes]


def nothing(_start: int, _size: int) -> bytes:
    """A file that is not there."""
    return b""


@dataclass(frozen=True, slots=True)
class Source:
    """A file.

    Attributes:
        read: see `Read`.
        size: bytes.
    """

    read: Read
    size: int


class Pages:
    """The pages of a database file, each as its write-ahead log has it last.

    Attributes:
        count: how many there are.
        unreadable: those of which `records` could not read a cell.
    """

    def __init__(self, file: Source, wal: Source = Source(nothing, 0)) -> None:
        """Looks at a file and its log; what was not committed is left out."""
        self._file, self._wal = file.read, wal.read
        self._newest = dict(_committed(wal))
        self.count = max([file.size // PAGE, *self._newest])
        self.unreadable: set[int] = set()

    def page(self, number: int) -> bytes:
        """A page, counted from 1; empty where there is none."""
        if number in self._newest:
            return self._wal(self._newest[number], PAGE)
        return self._file((number - 1) * PAGE, PAGE) if number > 0 else b""

    def records(self, number: int) -> Iterator[Record]:
        """The records of a page, as far as they can be read."""
        page = self.page(number)
        kind, cells, _ = _layout(page, number)
        for at in cells if kind in (_TABLE_LEAF, _INDEX_LEAF, _INDEX_INNER) else ():
            try:
                yield self._record(number, page, at, kind)
            except _UNREADABLE:  # this cell is damaged: the others may not be
                self.unreadable.add(number)

    def broken(self, root: int, *, table: bool) -> Iterator[int]:
        """The pages of a tree that cannot be read whole, once all `records` were read; none below a page that is lost.

        Args:
            root: the tree's first page.
            table: whether it is a table with rowids; all else is stored as an index.
        """
        inner, leaf = (_TABLE_INNER, _TABLE_LEAF) if table else (_INDEX_INNER, _INDEX_LEAF)
        waiting, seen = [root], {root}
        while waiting:
            number = waiting.pop()
            page = self.page(number)
            kind, cells, right = _layout(page, number)
            try:
                if kind not in (inner, leaf):
                    raise ValueError("it is no page of this tree")
                below = [right] if kind == inner else []
                if kind == inner:
                    below += [int.from_bytes(_exactly(page[at : at + 4], 4)) for at in cells]
                if (
                    number in self.unreadable
                    or seen.intersection(below)
                    or not all(1 < child <= self.count for child in below)
                ):
                    raise ValueError("it leads to no page, or to one that is another's")
            except _UNREADABLE:
                yield number
                continue
            seen.update(below)
            waiting += reversed(below)

    def _record(self, number: int, page: bytes, at: int, kind: int) -> Record:
        if kind == _INDEX_INNER:
            at += 4  # the page below
        size, at = _varint(page, at)
        rowid = None
        if kind == _TABLE_LEAF:
            rowid, at = _varint(page, at)
            rowid -= 2**64 if rowid >= 2**63 else 0
        return Record(number, rowid, _values(self._payload(page, at, size, kind)))

    def _payload(self, page: bytes, at: int, size: int, kind: int) -> bytes:
        """A record's bytes, of which the end may lie on a chain of further pages."""
        if not 0 < size <= MAX_PAYLOAD:
            raise ValueError("no record of ours is so long")
        most = PAGE - 35 if kind == _TABLE_LEAF else (PAGE - 12) * 64 // 255 - 23
        if size <= most:
            return _exactly(page[at : at + size], size)
        least = (PAGE - 12) * 32 // 255 - 23
        local = least + (size - least) % (PAGE - 4)
        local = local if local <= most else least
        found = bytearray(_exactly(page[at : at + local], local))
        following = int.from_bytes(_exactly(page[at + local : at + local + 4], 4))
        while len(found) < size:  # each page brings bytes, so a chain that is a circle ends too
            more = _exactly(self.page(following), PAGE)
            following = int.from_bytes(more[:4])
            found += more[4 : 4 + size - len(found)]
        return bytes(found)


def _layout(page: bytes, number: int) -> tuple[int, tuple[int, ...], int]:
    """Kind of a page, where its cells are, and the page that its right end leads to, if it is an inner one."""
    start = 100 if number == 1 else 0  # the file's header comes first
    if len(page) != PAGE:
        return 0, (), 0
    kind = page[start]
    first = start + (12 if kind in (_TABLE_INNER, _INDEX_INNER) else 8)
    cells = int.from_bytes(page[start + 3 : start + 5])
    if cells > (PAGE - first) // 2:
        return 0, (), 0
    return kind, struct.unpack_from(f">{cells}H", page, first), int.from_bytes(page[start + 8 : start + 12])


def _exactly(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise ValueError("it goes beyond the page, or the file")
    return data


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of SQLite's, and where it ends."""
    value = 0
    for place in range(at, at + 8):
        value = value << 7 | data[place] & 0x7F
        if data[place] < 0x80:
            return value, place + 1
    return value << 8 | data[at + 8], at + 9


def _values(payload: bytes) -> tuple[Value, ...]:
    header, at = _varint(payload, 0)
    if header > len(payload):
        raise ValueError("the record's header is longer than the record")
    types = []
    while at < header:
        kind, at = _varint(payload, at)
        types.append(kind)
    values = []
    for kind in types:
        value, size = _value(payload, at, kind)
        values.append(value)
        at += size
    if at != len(payload):
        raise ValueError("the record is longer or shorter than its columns")
    return tuple(values)


def _value(payload: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind in (0, 8, 9):
        return (None, 0, 1)[max(0, kind - 7)], 0
    if kind in _INTEGERS:
        size = _INTEGERS[kind]
        return int.from_bytes(_exactly(payload[at : at + size], size), signed=True), size
    if kind == 7:
        number: float = struct.unpack_from(">d", payload, at)[0]
        return number, 8
    if kind < 12:
        raise ValueError("a type that SQLite keeps for itself")
    size = (kind - 12) // 2
    data = _exactly(payload[at : at + size], size)
    return (data.decode(errors="replace") if kind % 2 else data), size


def _committed(wal: Source) -> Iterator[tuple[int, int]]:
    """Page number and place of each frame of a write-ahead log, up to its last commit.

    A frame's checksum goes on from that of the frame before, which is kept there: so what comes after a damaged one
    can be checked. SQLite itself stops at the first.
    """
    order, salt, sums = _start(wal.read(0, _WAL_HEADER + _FRAME_HEADER))
    waiting: list[tuple[int, int]] = []
    for at in range(_WAL_HEADER, wal.size - _FRAME_HEADER - PAGE + 1, _FRAME_HEADER + PAGE):
        frame = wal.read(at, _FRAME_HEADER + PAGE)
        if (
            len(frame) < _FRAME_HEADER + PAGE or frame[8:16] != salt
        ):  # not readable, or what is left of an older log
            sums = None
            continue
        number, committed, *_, one, two = struct.unpack_from(">6I", frame)
        right = sums and _checksum(order, frame[_FRAME_HEADER:], _checksum(order, frame[:8], sums)) == (
            one,
            two,
        )
        sums = one, two
        if right:
            waiting.append((number, at + _FRAME_HEADER))
        if right and committed:
            yield from waiting
            waiting.clear()


def _start(data: bytes) -> tuple[str, bytes, tuple[int, int] | None]:
    """A write-ahead log's byte order, its salt, and the checksum that its first frame goes on from, if it is known."""
    header, frame = data[:_WAL_HEADER], data[_WAL_HEADER:]
    if len(frame) < _FRAME_HEADER:
        return "<", b"", None
    order = ">" if header[3] & 1 else "<"
    sums = _checksum(order, header[:24], (0, 0))
    if struct.unpack_from(">2I", header, 24) == sums and int.from_bytes(header[8:12]) == PAGE:
        return order, header[16:24], sums
    return "<" if sys.byteorder == "little" else ">", frame[8:16], None


def _checksum(order: str, data: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    one, two = sums
    for first, second in struct.iter_unpack(f"{order}2I", data):
        one = one + first + two & 0xFFFFFFFF
        two = two + second + one & 0xFFFFFFFF
    return one, two
