"""Ranges of the log's order over SQLite, for `core.ranges`."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator

from peersdb.core.ranges import HIGHEST, LOWEST, Bound
from peersdb.core.reconcile import EMPTY, Fingerprint

#: In front of the digest in the CID of every entry and identity: CIDv1, dag-cbor, sha2-256, 32 bytes.
HASH_PREFIX = b"\x01\x71\x12\x20"

_RANGE = "(time > ? OR (time = ? AND digest >= ?)) AND (time < ? OR (time = ? AND digest < ?))"


class SqlRanges:
    """The entries of one snapshot as a `core.ranges.RangeStore`.

    A fingerprint of a part costs a hash an entry in it; only comparisons that version vectors did not settle
    come here.
    """

    def __init__(self, conn: sqlite3.Connection) -> None:
        """Reads through ``conn``."""
        self._conn = conn

    def fingerprint(self, low: Bound, high: Bound) -> Fingerprint:
        """Count and sum of a range; of everything, as the log keeps it."""
        if (low, high) == (LOWEST, HIGHEST):
            row = self._conn.execute("SELECT count, total FROM log").fetchone()
            return Fingerprint.from_bytes(*row) if row else EMPTY
        return _sum(digest for _, digest in self._rows(low, high))

    def digests(self, low: Bound, high: Bound) -> tuple[bytes, ...]:
        """All digests of a range, in order."""
        return tuple(digest for _, digest in self._rows(low, high))

    def cuts(self, low: Bound, high: Bound, count: int, parts: int) -> list[Bound]:
        """Places that cut a range into parts of about the same size."""
        wanted = {count * part // parts for part in range(1, parts)}
        return [place for number, place in enumerate(self._rows(low, high)) if number in wanted]

    def _rows(self, low: Bound, high: Bound) -> Iterator[Bound]:
        # The bounds on time alone let SQLite use the index of the order.
        return self._conn.execute(
            f"SELECT time, digest FROM entries WHERE time BETWEEN ? AND ? AND {_RANGE} ORDER BY time, digest",  # noqa: S608 - a constant
            (low[0], high[0], low[0], *low, high[0], *high),
        )


def everything(conn: sqlite3.Connection) -> Fingerprint:
    """Count and sum of all entries, from themselves and not as the log keeps it."""
    return _sum(digest for (digest,) in conn.execute("SELECT digest FROM entries"))


def _sum(digests: Iterable[bytes]) -> Fingerprint:
    count = total = 0
    for digest in digests:
        count += 1
        total += int.from_bytes(hashlib.sha256(HASH_PREFIX + digest).digest())
    return Fingerprint(count, total % 2**256)
