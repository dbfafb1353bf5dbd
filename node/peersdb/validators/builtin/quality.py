"""``quality``: not too many missing values, not too many rows twice."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from peersdb.validators.api import File, Finding, OptionsError, abstain, invalid, valid
from peersdb.validators.builtin.options import Kind, number, texts
from peersdb.validators.builtin.tables import MAX_ROWS, CannotSay, NoTable, rows

OPTIONS: Mapping[str, Kind] = {
    "max_missing": number(0, 1, whole=False),
    "max_duplicates": number(0, 1, whole=False),
    "columns": texts(),
    "missing_values": texts(),
    "max_rows": number(1, MAX_ROWS),
}


def check(file: File, options: Mapping[str, Any]) -> Finding:
    """Invalid when a threshold is passed. Of CSV, TSV, lines of JSON, and Parquet.

    Options:
        max_missing: share of a column's values that may be missing (0 to 1; not looked at unless given).
        max_duplicates: share of rows that may be the same as an earlier one (0 to 1; not looked at unless given).
        columns: the columns to look at; all unless given.
        missing_values: texts that say so (``NA``), besides empty ones.
        max_rows: how many are looked at (1,000,000).
    """
    if "max_missing" not in options and "max_duplicates" not in options:
        raise OptionsError("give max_missing, max_duplicates or both")
    try:
        return _judge(rows(file, options.get("max_rows", MAX_ROWS)), options)
    except NoTable as error:
        return invalid(str(error))
    except CannotSay as reason:
        return abstain(str(reason))


def _judge(table: Iterator[dict[str, Any]], options: Mapping[str, Any]) -> Finding:
    chosen, words = options.get("columns"), {"", *options.get("missing_values", ())}
    most_missing, most_twice = options.get("max_missing", 1), options.get("max_duplicates")
    seen: set[bytes] = set()
    missing: Counter[str] = Counter()
    count = twice = 0
    for row in table:
        if count == 0 and chosen and (unknown := [name for name in chosen if name not in row]):
            return invalid(f"there is no column {unknown[0]!r}")
        count += 1
        values = {name: row.get(name) for name in chosen or row}
        missing.update(str(name) for name, value in values.items() if _is_missing(value, words))
        if most_twice is not None:
            digest = hashlib.blake2b(repr(values).encode(), digest_size=8).digest()
            twice += digest in seen
            seen.add(digest)
    if count == 0:
        return abstain("there are no rows")
    for name, absent in missing.most_common(1):
        if absent > most_missing * count:
            return invalid(f"column {name!r}: {absent / count:.1%} of {count} values are missing")
    if most_twice is not None and twice > most_twice * count:
        return invalid(f"{twice / count:.1%} of {count} rows are the same as an earlier one")
    return valid(f"{count} rows")


def _is_missing(value: Any, words: set[str]) -> bool:
    return value is None or (isinstance(value, str) and value.strip() in words) or value != value  # noqa: PLR0124 - NaN
