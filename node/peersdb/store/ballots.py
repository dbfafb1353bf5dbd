"""The votes of all voters: their ballots as signed, and what they come to."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from peersdb.core.ballots import Ballot, Vote, decode_ballot, votes_on
from peersdb.core.cid import ipfs_path, parse_path
from peersdb.core.identity import peer_id_of
from peersdb.core.quorum import verdict_of
from peersdb.core.wire import MAX_BALLOTS, MAX_CHAINS
from peersdb.store.database import Database

#: Epochs of one voter that are kept, the newest: its runs in which it voted. It says all again before they run out.
MAX_EPOCHS = 4
#: Voters at most, twice the members that a cluster is made for; all their chains fit into one message.
MAX_VOTERS = MAX_CHAINS // MAX_EPOCHS
#: A voter may have so many votes for each entry of the log, and so many besides: changed minds, changed validators.
VOTES_PER_ENTRY, VOTES_BESIDE = 8, 4096

Place = tuple[bytes, int]
"""A chain: the voter's key, and the epoch."""


@dataclass(frozen=True, slots=True)
class Said:
    """What one voter says of one file."""

    peer: str
    verdict: str
    votes: tuple[Vote, ...]
    ts: int


class BallotStore:
    """The ballots of this node's log."""

    def __init__(self, database: Database) -> None:
        """Nothing is read yet."""
        self._database = database

    async def tips(self) -> dict[Place, tuple[int, bytes]]:
        """Seq and hash of the last ballot of each chain; without the chains of who was disqualified."""

        def job(conn: sqlite3.Connection) -> dict[Place, tuple[int, bytes]]:
            rows = conn.execute(
                "SELECT key, epoch, seq, tip FROM voter_chains JOIN voters ON id = voter WHERE one IS NULL"
            )
            return {(key, epoch): (seq, tip) for key, epoch, seq, tip in rows}

        return await self._database.read(job)

    async def ballot(self, place: Place, seq: int) -> bytes | None:
        """The ballot of this place, if it is here."""

        def job(conn: sqlite3.Connection) -> bytes | None:
            row = conn.execute(
                "SELECT data FROM ballots WHERE epoch = ? AND seq = ?"
                " AND voter = (SELECT id FROM voters WHERE key = ?)",
                (place[1], seq, place[0]),
            ).fetchone()
            return row[0] if row else None

        return await self._database.read(job)

    async def after(self, theirs: Mapping[Place, int], limit: int) -> tuple[list[bytes], bool]:
        """Ballots that are here and not there, each chain in its order.

        Args:
            theirs: how far each chain is there.
            limit: bytes at most, but one ballot at least.

        Returns:
            The ballots, and whether there are more.
        """

        def job(conn: sqlite3.Connection) -> tuple[list[bytes], bool]:
            found: list[bytes] = []
            left = limit
            chains = conn.execute(
                "SELECT voter, key, epoch, seq FROM voter_chains JOIN voters ON id = voter WHERE one IS NULL"
            ).fetchall()
            for voter, key, epoch, seq in chains:
                have = theirs.get((key, epoch), 0)
                if have >= seq:
                    continue
                for (data,) in conn.execute(
                    "SELECT data FROM ballots WHERE voter = ? AND epoch = ? AND seq > ? ORDER BY seq",
                    (voter, epoch, have),
                ):
                    if found and (len(data) > left or len(found) == MAX_BALLOTS):
                        return found, True
                    found.append(data)
                    left -= len(data)
            return found, False

        return await self._database.read(job)

    async def keep(self, ballots: Sequence[Ballot]) -> list[Ballot]:
        """Keeps verified ballots, as far as they follow what is here now; gives those that were not here.

        Args:
            ballots: of each chain in its order; see `core.ballots.verify_chain`.
        """

        def job(conn: sqlite3.Connection) -> list[Ballot]:
            (entries,) = conn.execute("SELECT coalesce((SELECT count FROM log), 0)").fetchone()
            fresh: list[Ballot] = []
            for (key, epoch), chain in groupby(ballots, lambda ballot: (ballot.voter, ballot.epoch)):
                fresh += keep_chain(conn, key, epoch, list(chain), VOTES_PER_ENTRY * entries + VOTES_BESIDE)
            return fresh

        return await self._database.write(job, durable=False)

    async def cast(
        self, make: Callable[[int, bytes], Ballot], key: bytes, epoch: int, after: int
    ) -> Ballot | None:
        """Appends one ballot to this node's own chain; None when the chain does not end where it should.

        Args:
            make: makes it for a seq and the hash of the one before.
            key: this node's key.
            epoch: of this run.
            after: the last seq that was given; with less here, the chain's end is lost.
        """

        def job(conn: sqlite3.Connection) -> Ballot | None:
            row = conn.execute(
                "SELECT seq, tip FROM voter_chains WHERE epoch = ? AND voter = (SELECT id FROM voters WHERE key = ?)",
                (epoch, key),
            ).fetchone()
            seq, tip = row or (0, b"")
            if seq != after:
                return None
            ballot = make(seq + 1, tip)
            keep_chain(conn, key, epoch, [ballot], None)
            return ballot

        return await self._database.write(job, durable=False)

    async def epochs(self, key: bytes) -> int:
        """In how many epochs a voter has voted."""
        return await self._database.read(
            lambda conn: int(
                conn.execute(
                    "SELECT count(*) FROM voter_chains WHERE voter = (SELECT id FROM voters WHERE key = ?)",
                    (key,),
                ).fetchone()[0]
            )
        )

    async def said_by(self, key: bytes, after: str, limit: int) -> list[tuple[str, tuple[Vote, ...]]]:
        """What a voter says, file by file in the order of their paths after one."""

        def job(conn: sqlite3.Connection) -> list[tuple[str, tuple[Vote, ...]]]:
            rows = conn.execute(
                "SELECT path, data FROM voted JOIN votes ON file = voted.id"
                " JOIN ballots USING (voter, epoch, seq)"
                " WHERE voter = (SELECT id FROM voters WHERE key = ?) AND path > ? ORDER BY path LIMIT ?",
                (key, after, limit),
            )
            return [(path, votes_on(data, parse_path(path))[0]) for path, data in rows]

        return await self._database.read(job)

    async def disqualify(self, one: bytes, other: bytes) -> bool:
        """Keeps the proof that a voter contradicts itself; says whether it is news. Its ballots go."""
        key = decode_ballot(one).voter

        def job(conn: sqlite3.Connection) -> bool:
            return disqualify_voter(conn, key, one, other)

        return await self._database.write(job, durable=True)

    async def disqualified(self) -> dict[str, tuple[bytes, bytes]]:
        """Peer ids of voters that contradict themselves, with the proofs."""
        return await self._database.read(
            lambda conn: {
                peer: (one, other)
                for peer, one, other in conn.execute(
                    "SELECT peer, one, other FROM voters WHERE one IS NOT NULL ORDER BY peer"
                )
            }
        )

    async def verdicts(self, path: str) -> dict[str, str]:
        """What each voter says of one file: peer id → verdict."""

        def job(conn: sqlite3.Connection) -> dict[str, str]:
            rows = conn.execute(
                "SELECT peer, verdict FROM votes JOIN voters ON id = voter"
                " WHERE file = (SELECT id FROM voted WHERE path = ?)",
                (path,),
            )
            return dict(rows.fetchall())

        return await self._database.read(job)

    async def said_of(self, path: str, limit: int) -> list[Said]:
        """What voters say of a file and how they know, so many at most."""
        root = parse_path(path)

        def job(conn: sqlite3.Connection) -> list[Said]:
            rows = conn.execute(
                "SELECT peer, verdict, data FROM votes JOIN voters ON voters.id = votes.voter"
                " JOIN ballots USING (voter, epoch, seq)"
                " WHERE file = (SELECT id FROM voted WHERE path = ?) ORDER BY peer LIMIT ?",
                (path, limit),
            )
            return [Said(peer, verdict, *votes_on(data, root)) for peer, verdict, data in rows]

        return await self._database.read(job)

    async def own_on(self, key: bytes, path: str) -> bytes | None:
        """The ballot in which a voter says what it thinks of a file now."""

        def job(conn: sqlite3.Connection) -> bytes | None:
            row = conn.execute(
                "SELECT data FROM votes JOIN ballots USING (voter, epoch, seq)"
                " WHERE voter = (SELECT id FROM voters WHERE key = ?)"
                " AND file = (SELECT id FROM voted WHERE path = ?)",
                (key, path),
            ).fetchone()
            return row[0] if row else None

        return await self._database.read(job)

    async def counts(self) -> tuple[int, int]:
        """How many voters and votes are known."""

        def job(conn: sqlite3.Connection) -> tuple[int, int]:
            (voters,) = conn.execute("SELECT count(DISTINCT voter) FROM voter_chains").fetchone()
            (votes,) = conn.execute("SELECT coalesce(sum(votes), 0) FROM voter_chains").fetchone()
            return voters, votes

        return await self._database.read(job)


def keep_chain(
    conn: sqlite3.Connection, key: bytes, epoch: int, chain: Sequence[Ballot], most: int | None
) -> list[Ballot]:
    """Keeps verified ballots of one chain, as far as they follow what is here; gives those that were not here.

    Args:
        conn: in a transaction.
        key: the voter's.
        epoch: of the chain.
        chain: in its order.
        most: votes that the voter may have; None: no limit.
    """
    voter = _voter(conn, key)
    if voter is None:
        return []
    (disqualified,) = conn.execute("SELECT one IS NOT NULL FROM voters WHERE id = ?", (voter,)).fetchone()
    if disqualified:
        return []
    seq, tip, votes = conn.execute(
        "SELECT seq, tip, votes FROM voter_chains WHERE voter = ? AND epoch = ?", (voter, epoch)
    ).fetchone() or (0, b"", 0)
    (all_votes,) = conn.execute(
        "SELECT coalesce(sum(votes), 0) FROM voter_chains WHERE voter = ?", (voter,)
    ).fetchone()
    fresh: list[Ballot] = []
    for ballot in chain:
        if ballot.seq <= seq:
            continue
        all_votes += len(ballot.votes)
        if (ballot.seq, ballot.prev) != (seq + 1, tip) or (most is not None and all_votes > most):
            break
        seq, tip, votes = ballot.seq, ballot.hash, votes + len(ballot.votes)
        fresh.append(ballot)
    if fresh:
        _insert(conn, voter, fresh)
        conn.execute(
            "INSERT INTO voter_chains VALUES (?, ?, ?, ?, ?) ON CONFLICT (voter, epoch)"
            " DO UPDATE SET seq = excluded.seq, tip = excluded.tip, votes = excluded.votes",
            (voter, epoch, seq, tip, votes),
        )
        _forget_old_epochs(conn, voter)
    return fresh


def disqualify_voter(conn: sqlite3.Connection, key: bytes, one: bytes, other: bytes) -> bool:
    """As `BallotStore.disqualify`, in a transaction."""
    voter = _voter(conn, key)
    if voter is None:
        return False
    changed = conn.execute(
        "UPDATE voters SET one = ?, other = ? WHERE id = ? AND one IS NULL", (one, other, voter)
    ).rowcount
    for table in ("ballots", "voter_chains", "votes"):
        conn.execute(f"DELETE FROM {table} WHERE voter = ?", (voter,))  # noqa: S608 - a constant
    return changed > 0


def _insert(conn: sqlite3.Connection, voter: int, ballots: Sequence[Ballot]) -> None:
    conn.executemany(
        "INSERT OR IGNORE INTO ballots (voter, epoch, seq, data) VALUES (?, ?, ?, ?)",
        [(voter, ballot.epoch, ballot.seq, ballot.data) for ballot in ballots],
    )
    rows = [
        (voter, verdict, ballot.epoch, ballot.seq, path)
        for ballot in ballots
        for path, verdict in _verdicts(ballot)
    ]
    conn.executemany("INSERT OR IGNORE INTO voted (path) VALUES (?)", [(row[4],) for row in rows])
    conn.executemany(
        "INSERT INTO votes SELECT id, ?, ?, ?, ? FROM voted WHERE path = ? ON CONFLICT (file, voter)"
        " DO UPDATE SET verdict = excluded.verdict, epoch = excluded.epoch, seq = excluded.seq"
        " WHERE (excluded.epoch, excluded.seq) > (epoch, seq)",
        rows,
    )


def _verdicts(ballot: Ballot) -> Iterator[tuple[str, str]]:
    verdicts: dict[str, list[str]] = {}
    for vote in ballot.votes:
        verdicts.setdefault(ipfs_path(vote.cid), []).append(vote.verdict)
    for path, found in verdicts.items():
        yield path, found[0] if len(found) == 1 else verdict_of(found)


def _forget_old_epochs(conn: sqlite3.Connection, voter: int) -> None:
    epochs = conn.execute(
        "SELECT epoch FROM voter_chains WHERE voter = ? ORDER BY epoch DESC LIMIT -1 OFFSET ?",
        (voter, MAX_EPOCHS),
    ).fetchall()
    for (epoch,) in epochs:
        for table in ("ballots", "voter_chains", "votes"):
            conn.execute(f"DELETE FROM {table} WHERE voter = ? AND epoch = ?", (voter, epoch))  # noqa: S608 - constants


def _voter(conn: sqlite3.Connection, key: bytes) -> int | None:
    """The number of a voter, given to it now if it is new; None when there are too many."""
    row = conn.execute("SELECT id FROM voters WHERE key = ?", (key,)).fetchone()
    if row is None:
        (known,) = conn.execute("SELECT count(*) FROM voters").fetchone()
        if known >= MAX_VOTERS:
            return None
        row = (
            conn.execute("INSERT INTO voters (key, peer) VALUES (?, ?)", (key, peer_id_of(key))).lastrowid,
        )
    return int(row[0])
