"""Texts of others as one harmless line: what a peer chose (a name, a region) never steers a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: How much of a peer id tells peers apart: all of them begin alike.
SHORT_ID = 8


def printable(value: object) -> str:
    """A value as text in which whatever is no visible character (tabs and line ends too) is escaped."""
    text = value if isinstance(value, str) else "" if value is None else str(value)
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )


def short_id(value: object) -> str:
    """The end of a peer id, as tables show it."""
    text = printable(value)
    return f"…{text[-SHORT_ID:]}" if len(text) > SHORT_ID else text


def short_time(value: object) -> str:
    """An RFC 3339 time in UTC to the second, for a table; anything else as it is."""
    text = printable(value)
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?Z", text)
    return f"{match[1]} {match[2]}" if match else text


def binary_size(count: object) -> str:
    """Bytes as people read them; anything that is no number as it is."""
    if not isinstance(count, int | float) or isinstance(count, bool):
        return printable(count)
    # Each unit is 2 to the 10th of the one before.
    power = max(0, min(4, (int(abs(count)).bit_length() - 1) // 10))
    return f"{count / 1024**power:.{min(power, 1)}f} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
