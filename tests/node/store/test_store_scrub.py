"""A look at everything finds what SQLite does not see, and nothing in a whole database."""

import sqlite3

import pytest
from store_helpers import MANIFEST, SIGNERS, Voter, append, contribution, opened, payload

from peersdb.core.identity import Signer
from peersdb.core.records import create_record
from peersdb.errors import CorruptData
from peersdb.store.ballots import BallotStore
from peersdb.store.log import LogStore
from peersdb.store.scrub import PAGE, Scrub, drop_heads
from peersdb.store.scrubvotes import PAGE as VOTES_PAGE
from peersdb.store.tables import Members, Pins, pin

CHANGES = {
    "entries: row 7": "UPDATE entries SET path = '/ipfs/other' WHERE id = 7",
    "entries: row 8": "UPDATE entries SET time = time + 1 WHERE id = 8",
    "entries: row 9": "UPDATE entries SET data = x'00' WHERE id = 9",
    "entries: row 10": "UPDATE entries SET data = (SELECT data FROM entries WHERE id = 11) WHERE id = 10",
    "entries: row 12": "UPDATE entries SET data = 'text' WHERE id = 12",
    "heads: one that is no entry": "UPDATE heads SET digest = randomblob(32)",
    "heads: there are none": "DELETE FROM heads",
    "writers: not as the entries are": "UPDATE writers SET last = last + 1",
    "writers: one is missing": "DELETE FROM writers",
    "log: count and fingerprint are not those of the entries": "UPDATE log SET count = count + 1",
    "log: the manifest is not the address's": "UPDATE log SET address = '/orbitdb/zdpuother'",
    "identities: a row that is not signed": "UPDATE identities SET data = x'a0'",
    "members: a row that is not signed": "UPDATE members SET data = CAST(data || x'00' AS BLOB)",
    "pins: not as many as were counted": "UPDATE pin_counts SET count = count + 1 WHERE pinned = 1",
    "the schema is not the one that was written": "CREATE TABLE other (data)",
    "ballots: row 3": "UPDATE ballots SET data = x'00' WHERE id = 3",
    "ballots: row 4": "UPDATE ballots SET data = (SELECT data FROM ballots WHERE id = 5) WHERE id = 4",
    "ballots: row 6": "UPDATE ballots SET data = 'text' WHERE id = 6",
    "ballots: row 25": "UPDATE ballots SET epoch = 9 WHERE id = 25",
    f"ballots: seq 22 of {SIGNERS[1].peer_id} does not follow": "DELETE FROM ballots WHERE id = 21",
    "voter_chains: not as the ballots are": "UPDATE voter_chains SET seq = seq + 1",
    "voter_chains: a row": "UPDATE voter_chains SET epoch = -epoch",
    "votes: one that nobody cast": "UPDATE votes SET seq = 99 WHERE seq = 9",
    f"voters: {SIGNERS[1].peer_id}": "UPDATE voters SET key = randomblob(32)",
    f"voters: {SIGNERS[2].peer_id}": "UPDATE voters SET one = x'00' WHERE one IS NOT NULL",
    "pins: a count is missing": "DELETE FROM pin_counts WHERE pinned = 0",
}


@pytest.fixture
async def repo(tmp_path):
    with opened(tmp_path / "repo") as made:
        store = LogStore(made.database)
        await store.create(MANIFEST)
        for number in range(1, PAGE + 30):
            await store.append(
                SIGNERS[0], payload(SIGNERS[0], number), lambda conn, e: pin(conn, e.contribution.path)
            )
        await Members(made.database).keep(
            [create_record(Signer.from_seed(bytes([9]) * 32), ("/ip4/10.0.0.1/tcp/1",), 1, True, "eu")]
        )
        votes, voter = BallotStore(made.database), Voter(SIGNERS[1])
        await votes.keep([voter.says((number, number % 4)) for number in range(3 * VOTES_PAGE)])
        one, other = (Voter(SIGNERS[2]).says((1, verdict)) for verdict in (0, 1))
        await votes.keep([one])
        await votes.disqualify(one.data, other.data)
        yield made


async def look(repo):
    scrub = Scrub()
    while not scrub.done:
        await repo.database.read(scrub.step)
    return scrub


async def test_a_whole_database_has_no_findings_also_while_it_grows(repo):
    scrub = await look(repo)
    assert (scrub.findings, scrub.wrong_heads) == ([], set())
    scrub, number = Scrub(), 1000
    while not scrub.done:
        await repo.database.read(scrub.step)
        if number < 1100:  # entries come faster than they are looked at, for a while
            for _ in range(20):
                number += 1
                await append(LogStore(repo.database), number=number)
    assert (scrub.findings, scrub.wrong_heads) == ([], set())


@pytest.mark.parametrize("finding", CHANGES)
async def test_each_change_is_found(repo, finding):
    await repo.database.write(lambda conn: conn.execute(CHANGES[finding]) and None, durable=False)
    assert finding in (await look(repo)).findings


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE pins SET path = CAST(x'2f697066732fff' AS TEXT) WHERE path = (SELECT min(path) FROM pins)",
        "INSERT INTO validations VALUES ('/ipfs/a', 1, 0, CAST(x'ff' AS TEXT), 1, 'valid', x'', '')",
        "UPDATE voters SET peer = CAST(x'ff' AS TEXT)",
        "UPDATE voted SET path = CAST(x'ff' AS TEXT) WHERE id = 1",
        "UPDATE entries SET name = CAST(x'ff' AS TEXT)",
    ],
)
async def test_a_text_that_is_none_is_told_as_a_damage_that_is_sure(repo, change):
    await repo.database.write(lambda conn: conn.execute(change) and None, durable=False)
    told = []
    repo.database.on_damage = told.append
    with pytest.raises(CorruptData):
        await look(repo)
    assert [error.sure for error in told] == [True]


async def test_an_empty_database_has_no_findings(tmp_path):
    with opened(tmp_path / "repo") as made:
        assert (await look(made)).findings == []


async def test_a_head_that_has_a_child_is_told_and_taken_back(repo):
    store = LogStore(repo.database)
    ((digest, time),) = await repo.database.read(
        lambda conn: conn.execute("SELECT digest, time FROM entries WHERE id = 5").fetchall()
    )
    await repo.database.write(
        lambda conn: conn.execute("INSERT INTO heads VALUES (?, ?)", (digest, time)) and None, durable=False
    )
    scrub = await look(repo)
    assert (scrub.findings, scrub.wrong_heads) == ([], {digest})
    await repo.database.write(lambda conn: drop_heads(conn, scrub.wrong_heads), durable=False)
    assert len(await store.heads()) == 1


async def test_pins_are_mended_after_a_damage(repo):
    pins = Pins(repo.database)
    path = contribution(SIGNERS[0], 3, 1, None).path

    def damage(conn):
        conn.execute("DELETE FROM pins WHERE path = ?", (path,))
        conn.execute("INSERT INTO pins (path, pinned) VALUES ('/ipfs/nobody', 1), ('/ipfs/away', 1)")

    await repo.database.write(damage, durable=False)
    await pins.mend(SIGNERS[0].public_key)
    kept = await pins.kept_after("", 1000)
    assert len(kept) == PAGE + 29
    assert path in kept
    assert await pins.counts() == (0, PAGE + 29)
    assert (await look(repo)).findings == []
    await repo.database.write(lambda conn: pin(conn, "/ipfs/away"), durable=False)
    await pins.mend(SIGNERS[0].public_key, ["/ipfs/away"])
    assert await pins.counts() == (0, PAGE + 30)
    await pins.mend(SIGNERS[0].public_key)
    await pins.recheck()
    assert await pins.counts() == (PAGE + 29, 0)


async def test_entries_whose_identity_is_lost_are_not_sent_until_it_is_back(repo):
    store = LogStore(repo.database)
    ids = await store.gap_ids([(SIGNERS[0].key_hex, 0, 1, 10)])
    assert len(ids) == 10
    await repo.database.write(lambda conn: conn.execute("DELETE FROM identities") and None, durable=False)
    lacking = await store.lacking_identities()
    assert list(lacking) == [SIGNERS[0].identity.hash]
    assert len(await store.gap_ids([(SIGNERS[0].key_hex, 0, 1, 10)])) == 0
    assert len(await store.ids_of(list(lacking.values()))) == 0
    await store.keep_identities([SIGNERS[0].identity])
    assert await store.lacking_identities() == {}
    assert len(await store.gap_ids([(SIGNERS[0].key_hex, 0, 1, 10)])) == 10


async def test_a_log_whose_manifest_was_lost_takes_it_again_with_its_entries(tmp_path):
    with opened(tmp_path / "repo") as repo:
        store = LogStore(repo.database)
        await store.create(MANIFEST)
        for number in (1, 2, 3):
            await append(store, number=number)
        before = await store.state()
    with sqlite3.connect(tmp_path / "repo" / "peersdb.sqlite") as conn:
        conn.execute("DELETE FROM log")
    with opened(tmp_path / "repo") as repo:
        assert repo.orphaned == MANIFEST.address
        store = LogStore(repo.database)
        assert await store.state() is None
        await store.create(MANIFEST)
        assert (await store.state()).fingerprint == before.fingerprint
    with opened(tmp_path / "repo") as repo:
        assert repo.orphaned == ""
