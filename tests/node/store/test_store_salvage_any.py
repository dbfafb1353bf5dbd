"""Whatever is damaged in whatever database: nothing is invented, and nothing is lost that lay elsewhere."""

import random
import sqlite3
import tempfile
from functools import cache
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from store_helpers import MANIFEST, SIGNERS, Voter, block, opened, payload, validation

from peersdb.core.ballots import decode_ballot
from peersdb.core.cid import ipfs_path
from peersdb.core.identity import Signer
from peersdb.core.records import create_record
from peersdb.store import checkup, repair
from peersdb.store.ballots import BallotStore
from peersdb.store.blocks import insert_rows
from peersdb.store.log import LogStore
from peersdb.store.pages import PAGE, Pages, Source
from peersdb.store.scrub import Scrub
from peersdb.store.tables import Members, pin, record_validation, want

HEADER, FRAME = 32, 24 + PAGE
#: Tables of which each row has to be there again.
KEPT = ("entries", "blocks", "members", "pins", "validations")
LIAR = Signer.from_seed(bytes([77]) * 32)

bases = st.builds(
    lambda *how: how,
    st.integers(0, 3),  # what is random in it
    st.sampled_from((1, 9, 40, 90)),  # entries
    st.sampled_from((0.0, 0.6, 1.0)),  # the part of them that was copied back from the write-ahead log
)
kinds = st.sampled_from(("zeros", "noise", "another page", "a few bytes"))
hits = st.lists(st.tuples(st.sampled_from(("file", "log")), st.integers(0, 10**6), kinds), max_size=6)
cuts = st.sampled_from((None, None, ("file", 0.0), ("file", 0.5), ("file", 0.9), ("log", 0.0), ("log", 0.7)))


async def fill(repo, seed, entries, copied):
    """A log of three writers with blocks, pins, validations and members, of which a part is in the file."""
    chance, store, votes = random.Random(seed), LogStore(repo.database), BallotStore(repo.database)
    voters = [Voter(signer, epoch) for signer in SIGNERS for epoch in (1, 2)]
    await store.create(MANIFEST)
    records = [
        create_record(Signer.from_seed(bytes([n]) * 32), (f"/ip4/10.0.0.{n}/tcp/1",), n, False, "eu")
        for n in range(10, 25)
    ]
    await Members(repo.database).keep(records)
    one, other = (Voter(LIAR).says((1, verdict)) for verdict in (0, 1))
    await votes.keep([one])
    await votes.disqualify(one.data, other.data)
    for number in range(1, entries + 1):
        if number - 1 == int(entries * copied):
            repo.database._conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        signer, small = SIGNERS[chance.randrange(3)], block(chance.choice((40, 900, 6000, 16_000)), number)

        def extra(conn, entry, small=small, number=number):
            path = entry.contribution.path
            insert_rows(conn, [small])
            pin(conn, path) if number % 3 else want(conn, [path])
            record_validation(conn, validation(path, number))

        await store.append(signer, payload(signer, number), extra)
        said = {chance.randrange(1, number + 1): chance.randrange(4) for _ in range(chance.randrange(1, 30))}
        await votes.keep([voters[chance.randrange(len(voters))].says(*said.items())])
    if copied == 1:
        repo.database._conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@cache
def base(*how):
    """File, write-ahead log, and all rows of a database of a node that was killed."""
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder) / "repo") as repo:
        trio.run(fill, repo, *how)
        path = repo.database.path
        return path.read_bytes(), Path(f"{path}-wal").read_bytes(), dump(path)


def dump(path):
    """All rows as a page has them, where the column that is the number of an entry is empty."""
    with sqlite3.connect(path) as conn:
        rows = {table: set(conn.execute(f"SELECT * FROM {table}")) for table in (*KEPT, "identities")}  # noqa: S608
        ballots = {(None, *row) for row in conn.execute("SELECT voter, epoch, seq, data FROM ballots")}
        proofs = {
            (None, *row) for row in conn.execute("SELECT key, peer, one, other FROM voters WHERE one NOTNULL")
        }
        votes = set(
            conn.execute(
                "SELECT path, peer, verdict, epoch, seq FROM votes, voted, voters"
                " WHERE file = voted.id AND voter = voters.id"
            )
        )
        chains = set(
            conn.execute("SELECT peer, epoch, seq, tip, votes FROM voter_chains, voters WHERE voter = id")
        )
    return {
        **rows,
        "entries": {(None, *row[1:]) for row in rows["entries"]},
        "ballots": ballots,
        "proofs": proofs,
        "votes": votes,
        "chains": chains,
    }


def chains_of(ballots):
    """Each chain's ballots from the first on, up to one that is missing."""
    found = {}
    for row in sorted(ballots, key=lambda row: row[3]):
        chain = found.setdefault(row[1:3], [])
        if row[3] == len(chain) + 1:
            chain.append(row[4])
    return [chain for chain in found.values() if chain]


def votes_of(chains):
    """What the ballots of these chains come to, as told by their definition."""
    found = {}
    for ballot in sorted(
        (decode_ballot(data) for chain in chains for data in chain), key=lambda one: (one.epoch, one.seq)
    ):
        for vote in ballot.votes:
            found[ipfs_path(vote.cid), ballot.peer_id] = vote.verdict, ballot.epoch, ballot.seq
    return {(*place, *said) for place, said in found.items()}


def ends_of(chains):
    """Where these chains end."""
    ballots = [[decode_ballot(data) for data in chain] for chain in chains]
    return {
        (last.peer_id, last.epoch, last.seq, last.hash, sum(len(one.votes) for one in chain))
        for chain in ballots
        for last in chain[-1:]
    }


def spoil(parts, hits, cut, chance):
    """Damages copies; says which bytes of each are not what they were."""
    parts = {name: bytearray(data) for name, data in parts.items()}
    spoilt = {name: [] for name in parts}
    for name, where, kind in hits:
        data = parts[name]
        if len(data) < PAGE:
            continue
        start = where % (len(data) // PAGE) * PAGE
        size = PAGE if kind != "a few bytes" else chance.randrange(1, 60)
        start += chance.randrange(PAGE - size + 1)
        data[start : start + size] = {
            "zeros": bytes(size),
            "another page": data[chance.randrange(len(data) // PAGE) * PAGE :][:size],
        }.get(kind, chance.randbytes(size))
        spoilt[name].append((start, start + size))
    if cut is not None:
        name, part = cut
        size = int(len(parts[name]) * part)
        spoilt[name].append((size, len(parts[name]) + 1))
        del parts[name][size:]
    return parts, spoilt


class Undamaged(Pages):
    """What the pages held of which nothing is damaged."""

    def __init__(self, file, wal, spoilt):
        super().__init__(source(file), source(wal))
        self._spoilt = spoilt
        frames = (len(wal) - HEADER) // FRAME if wal else 0
        hit = [self.hit("log", HEADER + n * FRAME, FRAME) for n in range(frames)]
        first = self.hit("log", 0, HEADER)
        # A frame is checked by the one before it.
        good = [not hit[n] and not (hit[n - 1] if n else first) for n in range(frames)]
        if frames and first and hit[0]:  # whose log this is cannot be known
            good = [False] * frames
        commits = [n for n in range(frames) if good[n] and any(wal[HEADER + n * FRAME + 4 :][:4])]
        self._usable = {HEADER + n * FRAME + 24 for n in range(max(commits, default=-1) + 1) if good[n]}

    def hit(self, name, start, size):
        return any(start < to and at < start + size for at, to in self._spoilt[name])

    def page(self, number):
        place = self._newest.get(number)
        lost = place not in self._usable if place else self.hit("file", (number - 1) * PAGE, PAGE)
        return b"" if lost else super().page(number)


def source(data):
    return Source(lambda start, size: bytes(data[start : start + size]), len(data))


@pytest.mark.parametrize("examples", [30, pytest.param(400, marks=pytest.mark.slow)])
def test_nothing_is_invented_and_nothing_lost_that_lay_on_undamaged_pages(examples):
    @settings(max_examples=examples, deadline=None)
    @given(how=bases, hits=hits, cut=cuts, chance=st.randoms(use_true_random=False))
    def holds(how, hits, cut, chance):
        rebuild_and_compare(how, hits, cut, chance)

    holds()


def rebuild_and_compare(how, hits, cut, chance):
    file, wal, whole = base(*how)
    parts, spoilt = spoil({"file": file, "log": wal}, hits, cut, chance)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "peersdb.sqlite"
        path.write_bytes(parts["file"])
        Path(f"{path}-wal").write_bytes(parts["log"])
        with path.open("rb") as opened_file:
            found = repair.rebuild(
                path, opened_file.fileno(), SIGNERS[0].identity, lambda: False, lambda _found: None
            )
        assert path.read_bytes() == parts["file"]
        repair.swap(path, "now")
        new = dump(path)
        looks_whole(path)
    pages = Undamaged(file, wal, spoilt)
    lay_elsewhere = {
        record.values for number in range(1, pages.count + 1) for record in pages.records(number)
    }
    for table in KEPT:
        assert {row for row in whole[table] if row in lay_elsewhere} <= new[table], table
    assert new["entries"] <= whole["entries"]
    # Ballots of a log that is known, from the first of a chain on; and what they come to.
    kept = chains_of(new["ballots"])
    data = {data for chain in kept for data in chain}
    assert len(data) == len(new["ballots"])
    assert data <= {row[4] for row in whole["ballots"]}
    if new["entries"]:
        assert {data for chain in chains_of(whole["ballots"] & lay_elsewhere) for data in chain} <= data
        assert whole["proofs"] & lay_elsewhere <= new["proofs"]
    assert new["proofs"] <= whole["proofs"]
    assert (new["votes"], new["chains"]) == (votes_of(kept), ends_of(kept))
    own_identities = {row for row in whole["identities"] | new["identities"] if row[1] in identities()}
    assert new["blocks"] <= whole["blocks"] | own_identities
    assert new["identities"] <= own_identities
    assert new["members"] <= whole["members"]
    if not any(kind == "a few bytes" for _, _, kind in hits):  # which may make another path of a path
        assert new["pins"] <= whole["pins"]
        assert new["validations"] <= whole["validations"]
    assert found.entries == len(new["entries"])


def identities():
    return {signer.identity.bytes for signer in SIGNERS}


def looks_whole(path):
    """No start, and no look at everything, finds anything in what was made: it is not rebuilt again."""
    assert checkup.wrong(path) == ""
    with sqlite3.connect(path) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        scrub = Scrub()
        while not scrub.done:
            scrub.step(conn)
    assert (scrub.findings, scrub.wrong_heads) == ([], set())


def test_the_bases_are_what_they_are_meant_to_be():
    file, wal, whole = base(0, 40, 0.6)
    assert len(file) > 20 * PAGE
    assert len(wal) > 20 * PAGE
    assert {
        table: len(rows) for table, rows in whole.items() if table not in ("identities", "votes", "chains")
    } == {
        "entries": 40,
        "blocks": 42,  # and the two of the manifest
        "members": 15,
        "pins": 40,
        "validations": 40,
        "ballots": 40,
        "proofs": 1,
    }
    assert len(whole["chains"]) == 6
    assert (whole["votes"], whole["chains"]) == (
        votes_of(chains_of(whole["ballots"])),
        ends_of(chains_of(whole["ballots"])),
    )
