"""What kind of file it is: by its name, or by its first bytes where the name says nothing. Pure.

The answer chooses validators, so it is the same on every node: no table of this machine (``/etc/mime.types``) or of
this Python's release is read.
"""

from __future__ import annotations

import csv

UNKNOWN = "application/octet-stream"
EMPTY = "application/x-empty"

_BY_SUFFIX = {
    ".arrow": "application/vnd.apache.arrow.file",
    ".arrows": "application/vnd.apache.arrow.stream",
    ".bz2": "application/x-bzip2",
    ".csv": "text/csv",
    ".feather": "application/vnd.apache.arrow.file",
    ".geojson": "application/geo+json",
    ".gz": "application/gzip",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".ndjson": "application/x-ndjson",
    ".npy": "application/x-npy",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".tar": "application/x-tar",
    ".tgz": "application/gzip",
    ".tsv": "text/tab-separated-values",
    ".txt": "text/plain",
    ".xz": "application/x-xz",
    ".zip": "application/zip",
}
_GUESSED = frozenset(
    (
        "text/csv",
        "text/tab-separated-values",
        "application/json",
        "application/x-ndjson",
    )
)
_MAGIC = (
    (0, b"PAR1", "application/vnd.apache.parquet"),
    (0, b"ARROW1\0\0", "application/vnd.apache.arrow.file"),
    (0, b"\xff\xff\xff\xff", "application/vnd.apache.arrow.stream"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"PK\x05\x06", "application/zip"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\0", "application/x-xz"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (257, b"ustar", "application/x-tar"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF8", "image/gif"),
    (0, b"\x89HDF\r\n\x1a\n", "application/x-hdf5"),
    (0, b"\x93NUMPY", "application/x-npy"),
    (0, b"SQLite format 3\0", "application/vnd.sqlite3"),
    (0, b"\x7fELF", "application/x-executable"),
)


def media_type(name: str, head: bytes) -> str:
    """The media type: by the name's suffix, else by the content.

    With a suffix that is not known, what the content looks like is believed of binary formats alone: that lines have
    the same number of commas does not make a log a table.
    """
    suffix = _suffix(name)
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    kind = sniff(head)
    return "text/plain" if suffix and kind in _GUESSED else kind


def _suffix(name: str) -> str:
    base = name.rpartition("/")[2].lower()
    stem, dot, suffix = base.rpartition(".")
    return f".{suffix}" if stem and dot else ""


def sniff(head: bytes) -> str:
    """The media type by the first bytes; some kilobytes are enough.

    For text it is a guess: JSON by its first sign, CSV and TSV when all lines have the same number of fields.
    """
    if not head:
        return EMPTY
    for place, magic, kind in _MAGIC:
        if head.startswith(magic, place):
            return kind
    text = _text(head)
    if text is None:
        return UNKNOWN
    start = text.lstrip("\ufeff \t\r\n")[:1]
    if start and start in "{[":
        return "application/json" if not _is_lines_of_json(text) else "application/x-ndjson"
    for delimiter, kind in (("\t", "text/tab-separated-values"), (",", "text/csv")):
        if _is_table(text, delimiter):
            return kind
    return "text/plain"


def _text(head: bytes) -> str | None:
    """The text, if it is UTF-8: the last character may have been cut."""
    if b"\0" in head:
        return None
    for cut in range(min(4, len(head))):
        try:
            return head[: len(head) - cut].decode()
        except UnicodeDecodeError:
            continue
    return None


def _is_lines_of_json(text: str) -> bool:
    lines = text.strip().splitlines()
    return len(lines) > 1 and all(line.startswith("{") and line.endswith("}") for line in lines[:-1])


def _is_table(text: str, delimiter: str) -> bool:
    lines = text.splitlines()
    try:
        rows = [row for row in csv.reader(lines, delimiter=delimiter) if row]
    except csv.Error:
        return False
    rows = rows[:-1] if len(rows) > 2 else rows  # the last one may have been cut
    widths = {len(row) for row in rows}
    return len(rows) > 1 and len(widths) == 1 and widths.pop() > 1
