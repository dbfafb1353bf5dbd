"""A look at all ballots: whether each is what its row says, and follows the one before it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from peersdb.core.ballots import Ballot, decode_ballot
from peersdb.errors import InvalidData

#: Ballots of one look, of up to 256 votes each: some milliseconds.
PAGE = 16

_ROWS = """
SELECT ballots.id, key, voter, ballots.epoch, ballots.seq, data, voter_chains.seq, tip FROM ballots
    LEFT JOIN voters ON voters.id = voter LEFT JOIN voter_chains USING (voter, epoch)
WHERE (voter, ballots.epoch, ballots.seq) >= (?, ?, ?) ORDER BY voter, ballots.epoch, ballots.seq LIMIT ?
"""


@dataclass
class VoteScrub:
    """A walk over all ballots, chain after chain.

    Attributes:
        done: whether the end was reached.
    """

    done: bool = False
    # The last one that was looked at. It is read again with those that follow it, since a chain may have been
    # forgotten, and come again, in between.
    _last: tuple[int, int, int] = (0, 0, 0)

    def step(self, conn: sqlite3.Connection) -> list[str]:
        """Looks at the next ballots; gives what is damaged."""
        rows = conn.execute(_ROWS, (*self._last, PAGE + 1)).fetchall()
        self.done = len(rows) <= PAGE
        if rows:
            self._last = rows[-1][2:5]
        return list(_wrong(rows))


def _wrong(rows: list[tuple[Any, ...]]) -> Iterator[str]:
    ballots: list[Ballot] = []
    for row, key, _, epoch, seq, data, last, tip in rows:
        try:
            ballot = decode_ballot(data)
        except (InvalidData, TypeError):
            yield f"ballots: row {row}"
            return
        if (ballot.voter, ballot.epoch, ballot.seq) != (key, epoch, seq):
            yield f"ballots: row {row}"
        if not isinstance(last, int) or last < ballot.seq or (last == ballot.seq and tip != ballot.hash):
            yield "voter_chains: not as the ballots are"
        ballots.append(ballot)
    for one, other in pairwise(ballots):
        same = (one.voter, one.epoch) == (other.voter, other.epoch)
        if (same and (other.seq, other.prev) != (one.seq + 1, one.hash)) or (not same and other.seq != 1):
            yield f"ballots: seq {other.seq} of {other.peer_id} does not follow"
