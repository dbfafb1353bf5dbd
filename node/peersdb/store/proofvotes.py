"""The votes of a damaged database, into the tables of a new one.

A ballot is signed by its place in a chain: of each chain the ballots from the first to the one before the first that is
missing prove themselves, and with them what voters say of files is made anew. Peers have the rest.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from peersdb.core.ballots import (
    Ballot,
    check_equivocation,
    decode_ballot,
    log_hash,
    verify,
    verify_chain,
)
from peersdb.errors import InvalidData
from peersdb.store.ballots import disqualify_voter, keep_chain
from peersdb.store.pages import Record

#: Ballots of one chain that are checked by one signature and kept together: some MB.
PIECE = 64
#: Tables of what was found; of one place there may be more, of which some are damaged.
WORK = """
CREATE TEMP TABLE found_ballots (
    voter BLOB, epoch INTEGER, seq INTEGER, digest BLOB, data BLOB, PRIMARY KEY (voter, epoch, seq, digest)
);
CREATE TEMP TABLE found_proofs (voter BLOB PRIMARY KEY, one BLOB, other BLOB);
"""


class FoundVotes:
    """Takes ballots one by one, then makes the tables of votes."""

    def __init__(self, conn: sqlite3.Connection, damaged: Callable[[str], None]) -> None:
        """Nothing is found yet.

        Args:
            conn: to the new database, with its tables and those of `WORK`.
            damaged: told of rows that are not what they should be.
        """
        self._conn, self._damaged = conn, damaged

    def take(self, record: Record) -> None:
        """Takes a row, if it is one of `ballots`, or of `voters` with a proof."""
        try:
            match record.values:
                case (None, int(), int(), int(), bytes(data)):
                    self._ballot(data)
                case (None, bytes(), str(), bytes(one), bytes(other)):
                    self._proof(one, other)
        except InvalidData:
            table = "ballots" if isinstance(record.values[1], int) else "voters"
            self._damaged(f"{table}: row {record.rowid}")

    def _ballot(self, data: bytes) -> None:
        ballot = decode_ballot(data)
        self._conn.execute(
            "INSERT OR IGNORE INTO temp.found_ballots VALUES (?, ?, ?, ?, ?)",
            (ballot.voter, ballot.epoch, ballot.seq, ballot.hash, data),
        )

    def _proof(self, one: bytes, other: bytes) -> None:
        first = check_equivocation(one, other, decode_ballot(one).log)
        self._conn.execute(
            "INSERT OR REPLACE INTO temp.found_proofs VALUES (?, ?, ?)", (first.voter, one, other)
        )

    def finish(self, address: str) -> None:
        """Keeps what proves itself.

        Args:
            address: of the log; empty if it is not known, and then no ballot is known to be of it.
        """
        log = log_hash(address)
        for voter, one, other in self._conn.execute("SELECT voter, one, other FROM temp.found_proofs"):
            if decode_ballot(one).log == log:
                disqualify_voter(self._conn, voter, one, other)
        rows = self._conn.execute("SELECT data FROM temp.found_ballots ORDER BY voter, epoch, seq")
        ballots = (decode_ballot(data) for (data,) in rows)
        for _, chain in groupby(ballots, lambda ballot: (ballot.voter, ballot.epoch)):
            for piece in _pieces(_following(chain, log)):
                if not self._keep(piece, log):
                    break
        for table in ("found_ballots", "found_proofs"):
            self._conn.execute(f"DROP TABLE temp.{table}")

    def _keep(self, piece: Sequence[Ballot], log: bytes) -> bool:
        """Keeps a piece of a chain up to the last ballot that is signed; says whether that is all of it."""
        for end in range(len(piece), 0, -1):
            first, chain = piece[0], piece[:end]
            try:
                verify_chain(chain, log, first.seq - 1, first.prev)
            except InvalidData:  # damaged in a way that only its signature tells
                continue
            # They were within the voter's limit when they came.
            return len(keep_chain(self._conn, first.voter, first.epoch, chain, None)) == len(piece)
        return False


def _following(ballots: Iterator[Ballot], log: bytes) -> Iterator[Ballot]:
    """A chain from its first ballot on, as far as each follows the one before it."""
    seq, tip = 0, b""
    for place, same in groupby(ballots, lambda ballot: ballot.seq):
        fitting = [ballot for ballot in same if (ballot.prev, ballot.log) == (tip, log)]
        if len(fitting) > 1:  # a page that was copied and then damaged
            fitting = [ballot for ballot in fitting if _is_signed(ballot)]
        if place != seq + 1 or not fitting:
            return
        seq, tip = place, fitting[0].hash
        yield fitting[0]


def _is_signed(ballot: Ballot) -> bool:
    try:
        verify(ballot)
    except InvalidData:
        return False
    return True


def _pieces(chain: Iterator[Ballot]) -> Iterator[list[Ballot]]:
    piece: list[Ballot] = []
    for ballot in chain:
        piece.append(ballot)
        if len(piece) == PIECE:
            yield piece
            piece = []
    if piece:
        yield piece
