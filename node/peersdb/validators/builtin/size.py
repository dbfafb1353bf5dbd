"""``size``: how large the file is, and what kind of file by its content."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from peersdb.validators.api import File, Finding, invalid, valid
from peersdb.validators.builtin.options import Kind, number, texts
from peersdb.validators.media import sniff

_EXBIBYTE = 2**60
OPTIONS: Mapping[str, Kind] = {
    "min_bytes": number(0, _EXBIBYTE),
    "max_bytes": number(0, _EXBIBYTE),
    "media_types": texts(),
}


def check(file: File, options: Mapping[str, Any]) -> Finding:
    """Invalid when it is empty, too small or too large, or of a kind that is not wanted.

    Options:
        min_bytes: 1 unless given.
        max_bytes: no limit unless given.
        media_types: patterns of what is allowed (``text/*``), held against the content and not the name.
    """
    least, most = options.get("min_bytes", 1), options.get("max_bytes")
    if file.size < least:
        return invalid("it is empty" if file.size == 0 else f"it has {file.size} bytes, fewer than {least}")
    if most is not None and file.size > most:
        return invalid(f"it has {file.size} bytes, more than {most}")
    allowed = options.get("media_types")
    kind = sniff(file.head())
    if allowed is not None and not any(fnmatchcase(kind, pattern.lower()) for pattern in allowed):
        return invalid(f"its content is {kind}, not {', '.join(allowed)}")
    return valid(f"{file.size} bytes of {kind}")
