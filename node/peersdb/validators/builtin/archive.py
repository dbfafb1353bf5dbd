"""``archive``: a zip, tar or gzip that can be unpacked without harm. It is read through; nothing of it is written."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any, BinaryIO, cast

from peersdb.validators.api import File, Finding, abstain, invalid, valid
from peersdb.validators.builtin.options import Kind, flag, number
from peersdb.validators.media import sniff

MIB = 1024 * 1024
#: Bytes that all contents may have together: read through in about 10 s.
MAX_TOTAL = 2048 * MIB
#: Text is packed to a tenth or a twentieth; a thousandth is what a bomb of zeros has.
MAX_RATIO = 100
#: Below so many bytes a ratio says nothing: a small file of zeros is no bomb.
RATIO_FROM = 16 * MIB
MAX_ENTRIES = 100_000
MAX_DEPTH = 2
#: Bytes of an archive within an archive, which is held in memory.
MAX_INNER = 64 * MIB
PIECE = 256 * 1024

OPTIONS: Mapping[str, Kind] = {
    "max_total_bytes": number(1, 2**50),
    "max_ratio": number(1, 1_000_000),
    "max_entries": number(1, 100_000_000),
    "max_depth": number(0, 8),
    "links": flag(),
}

_PACKED: Mapping[str, Any] = {
    "application/gzip": gzip.open,
    "application/x-bzip2": bz2.open,
    "application/x-xz": lzma.open,
}
_NOT_READ = frozenset(("application/zstd", "application/x-7z-compressed"))
_ARCHIVES = frozenset(("application/zip", "application/x-tar", *_PACKED, *_NOT_READ))
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    struct.error,
    OverflowError,
    ValueError,  # of a place or a text that cannot be
)
_DRIVE = re.compile(r"[A-Za-z]:")


class _Unsafe(Exception):
    """What is wrong with the archive."""


class _CannotSay(Exception):
    """Why it cannot be looked into."""


def check(file: File, options: Mapping[str, Any]) -> Finding:
    """Invalid when it is damaged or a bomb, or when a name leads out of the folder it is unpacked into.

    Options:
        max_total_bytes: of all contents, those of inner archives too (2 GiB).
        max_ratio: of contents to the file, from 16 MiB of contents (100).
        max_entries: in all (100,000).
        max_depth: of archives in archives (2); deeper ones are invalid.
        links: whether symbolic and hard links may be in it (false); devices and pipes never.
    """
    walk = _Walk(
        packed=max(file.size, 1),
        max_total=options.get("max_total_bytes", MAX_TOTAL),
        max_ratio=options.get("max_ratio", MAX_RATIO),
        max_entries=options.get("max_entries", MAX_ENTRIES),
        max_depth=options.get("max_depth", MAX_DEPTH),
        links=options.get("links", False),
    )
    try:
        with file.open() as stream:
            walk.archive(stream, sniff(file.head()), 0)
    except _Unsafe as fault:
        return invalid(str(fault))
    except _CannotSay as reason:
        return abstain(str(reason))
    except _DAMAGE as error:
        return invalid(f"it is damaged: {error or type(error).__name__}")
    except OSError as error:
        if error.errno is not None:  # of this machine, not of the file
            raise
        return invalid(f"it is damaged: {error}")
    except (NotImplementedError, RuntimeError) as error:  # of zipfile: a method that it lacks, a password
        return abstain(str(error))
    return valid(f"{walk.entries} entries, {walk.total} bytes")


@dataclass
class _Walk:
    """Reads an archive through, and counts."""

    packed: int
    max_total: int
    max_ratio: int
    max_entries: int
    max_depth: int
    links: bool
    entries: int = 0
    total: int = 0

    def archive(self, stream: BinaryIO, kind: str, depth: int) -> None:
        """One archive with all that is in it."""
        if depth > self.max_depth:
            raise _Unsafe(f"archives are nested deeper than {self.max_depth}")
        if kind == "application/zip":
            self._zip(stream, depth)
        elif kind == "application/x-tar":
            self._tar(stream, depth)
        elif kind in _PACKED:
            with _PACKED[kind](stream) as unpacked:
                self._unpacked(unpacked, depth)
        elif kind in _NOT_READ:
            raise _CannotSay(f"{kind} cannot be read here")
        else:
            raise _Unsafe(f"it is no archive but {kind}")

    def _zip(self, stream: BinaryIO, depth: int) -> None:
        with zipfile.ZipFile(stream) as archive:
            self._count(len(archive.infolist()))
            for entry in archive.infolist():
                mode = entry.external_attr >> 16
                self._name(entry.orig_filename)
                if stat.S_ISLNK(mode):
                    self._link(entry.filename)
                elif stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
                    raise _Unsafe(f"{entry.filename!r} is no file")
                if entry.flag_bits & 1:
                    raise _CannotSay(f"{entry.filename!r} is encrypted")
                with archive.open(entry) as content:
                    self._content(content, depth)

    def _unpacked(self, stream: BinaryIO, depth: int) -> None:
        """What one packed stream has: a tar, or a file."""
        reader = io.BufferedReader(cast("io.RawIOBase", _Counted(stream, self)), PIECE)
        if sniff(reader.peek(512)[:8192]) == "application/x-tar":
            self._tar(cast("BinaryIO", reader), depth, counted=True)
        else:
            self._count(1)
        self._content(cast("BinaryIO", reader), depth, counted=True)

    def _tar(self, stream: BinaryIO, depth: int, *, counted: bool = False) -> None:
        with tarfile.open(fileobj=stream, mode="r|", errorlevel=2) as archive:
            for entry in archive:
                self._count(1)
                self._name(entry.name)
                if entry.issym() or entry.islnk():
                    self._link(entry.name)
                elif not (entry.isreg() or entry.isdir()):
                    raise _Unsafe(f"{entry.name!r} is no file")
                content = archive.extractfile(entry) if entry.isreg() else None
                if content is not None:
                    self._content(content, depth, counted=counted)
                vars(archive)["members"].clear()  # it would remember every entry
            if not self.entries:
                raise _Unsafe("it is damaged: there are no entries")

    def _content(self, content: IO[bytes], depth: int, *, counted: bool = False) -> None:
        """Reads an entry through; an archive is looked into."""
        head = content.read(PIECE)
        self.add(0 if counted else len(head))
        kind = sniff(head[:8192])
        if kind in _ARCHIVES:
            self.archive(self._held(content, head, counted=counted), kind, depth + 1)
            return
        while piece := content.read(PIECE):
            self.add(0 if counted else len(piece))

    def _held(self, content: IO[bytes], head: bytes, *, counted: bool) -> BinaryIO:
        held = io.BytesIO(head)
        held.seek(0, io.SEEK_END)
        while piece := content.read(PIECE):
            self.add(0 if counted else len(piece))
            held.write(piece)
            if held.tell() > MAX_INNER:
                raise _CannotSay(
                    f"an archive in it has more than {MAX_INNER // MIB} MiB and is not looked into"
                )
        held.seek(0)
        return held

    def add(self, size: int) -> None:
        """Counts bytes that were unpacked."""
        self.total += size
        if self.total > self.max_total:
            raise _Unsafe(f"it unpacks to more than {self.max_total} bytes")
        if self.total > RATIO_FROM and self.total > self.max_ratio * self.packed:
            raise _Unsafe(f"it unpacks to more than {self.max_ratio} times its size")

    def _count(self, entries: int) -> None:
        self.entries += entries
        if self.entries > self.max_entries:
            raise _Unsafe(f"it has more than {self.max_entries} entries")

    def _link(self, name: str) -> None:
        if not self.links:
            raise _Unsafe(f"{name!r} is a link")

    @staticmethod
    def _name(name: str) -> None:
        parts = name.replace("\\", "/").split("/")
        if not name or "\0" in name or ".." in parts or not parts[0] or _DRIVE.match(name):
            raise _Unsafe(f"the name {name!r} leads out of the folder")


class _Counted(io.RawIOBase):
    """Counts what comes out of a packed stream, also what tarfile skips."""

    def __init__(self, stream: BinaryIO, walk: _Walk) -> None:
        super().__init__()
        self._stream, self._walk = stream, walk

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        self._walk.add(len(data))
        buffer[: len(data)] = data
        return len(data)
