"""Contributions with what is known of their validity: for lists of many, so all in one read and by few queries."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from peersdb.core.quorum import Tally
from peersdb.store.contents import Row
from peersdb.store.database import Database

#: Counts lie in one number, this far apart: more voters than there can be (`ballots.MAX_VOTERS`).
_APART = 1 << 20
#: Votes lie in the order of their files. Up to so many times as many files as are asked for, all of them are read
#: from the first to the last, which takes half as long as looking each of them up.
_SPREAD = 2

_CONTRIBUTIONS = """
SELECT entries.id, entries.path, contributor, created, name, size, voted.id,
    validations.verdict, validations.votes = 0
FROM entries
LEFT JOIN voted ON voted.path = entries.path
LEFT JOIN validations ON validations.path = entries.path AND (validations.votes > 0 OR validations.plan = ?)
WHERE entries.id > ? {condition} ORDER BY entries.id LIMIT ?
"""
_VOTES = """
SELECT file, sum(1 + CASE verdict WHEN 'valid' THEN {valid} WHEN 'invalid' THEN {invalid} ELSE 0 END)
FROM votes WHERE file {files} {among} GROUP BY file
"""


class Judged(NamedTuple):
    """A contribution, and what is known of its file's validity.

    Attributes:
        row: the contribution.
        kept: the verdict that this node keeps on record; empty without one.
        own: whether it found that out itself.
        tally: what the electorate says.
    """

    row: Row
    kept: str
    own: bool
    tally: Tally


class JudgedContents:
    """The contributions in the log of this node, with verdicts."""

    def __init__(self, database: Database) -> None:
        """Nothing is read yet."""
        self._database = database

    async def arrivals(
        self, after: int, limit: int, path: str | None, weights: Mapping[str, int], plan: bytes
    ) -> tuple[list[Judged], int]:
        """As `Contents.arrivals`, with verdicts.

        Args:
            after: the number of the last one that is known already; 0 for all.
            limit: so many at most.
            path: only those of this file.
            weights: the electorate: peer id → weight.
            plan: hash of all that judges here now; what this node judged otherwise is left out.
        """
        condition = "" if path is None else "AND entries.path = ?"
        values = (plan, after, limit) if path is None else (plan, after, path, limit)

        def job(conn: sqlite3.Connection) -> tuple[list[Judged], int]:
            found = conn.execute(_CONTRIBUTIONS.format(condition=condition), values).fetchall()
            tallies = _tallies(conn, {row[6] for row in found if row[6] is not None}, weights)
            none = Tally(total=sum(weights.values()))
            judged = [
                Judged(Row._make(row[1:6]), row[7] or "", bool(row[8]), tallies.get(row[6], none))
                for row in found
            ]
            return judged, found[-1][0] if found else after

        return await self._database.read(job)


def _tallies(conn: sqlite3.Connection, files: set[int], weights: Mapping[str, int]) -> dict[int, Tally]:
    """What the electorate says of each of these files; without those nobody said anything of."""
    if not files:
        return {}
    first, last = min(files), max(files)
    dense = last - first < _SPREAD * len(files)
    where, values = (
        ("BETWEEN ? AND ?", (first, last))
        if dense
        else (
            "IN (SELECT value FROM json_each(?))",
            (json.dumps(sorted(files)),),
        )
    )
    said: dict[int, tuple[tuple[int, int], ...]] = {}
    for weight, among in _classes(conn, weights).items():
        text = _VOTES.format(valid=_APART, invalid=_APART**2, files=where, among=among)
        for file, packed in conn.execute(text, values):
            said[file] = (*said.get(file, ()), (weight, packed))
    total = sum(weights.values())
    # Most files have one of few tallies: what is made of one is made once.
    made = {counts: _tally(counts, total) for counts in set(said.values())}
    return {file: made[counts] for file, counts in said.items()}


def _tally(counts: tuple[tuple[int, int], ...], total: int) -> Tally:
    """Of the packed counts of each weight."""
    valid = invalid = other = voters = 0
    for weight, packed in counts:
        rest, number = divmod(packed, _APART)
        found_invalid, found_valid = divmod(rest, _APART)
        valid += weight * found_valid
        invalid += weight * found_invalid
        other += weight * (number - found_valid - found_invalid)
        voters += number
    return Tally(valid, invalid, other, total, voters)


def _classes(conn: sqlite3.Connection, weights: Mapping[str, int]) -> dict[int, str]:
    """The voters of an electorate by their weight, as a condition on votes: few weights, so few queries.

    Numbers are written out, and not searched for one by one (+): all of a file's votes lie side by side. Where every
    voter is of one class, as it mostly is, nothing is compared at all.
    """
    voters: Sequence[tuple[int, str]] = conn.execute("SELECT id, peer FROM voters").fetchall()
    classes: dict[int, list[int]] = {}
    for id_, peer in voters:
        if peer in weights:
            classes.setdefault(weights[peer], []).append(id_)
    return {
        weight: "" if len(ids) == len(voters) else f"AND +voter IN ({','.join(map(str, ids))})"
        for weight, ids in classes.items()
    }
