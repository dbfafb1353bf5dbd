"""The smaller tables: pins, validations, members."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_helpers import MANIFEST, SIGNERS, append, opened

from peersdb.core.identity import Signer
from peersdb.core.records import create_record
from peersdb.store import tables
from peersdb.store.log import LogStore
from peersdb.store.tables import Members, Pins, Validation, Validations, pin, record_validation, want


@pytest.fixture
def repo(tmp_path):
    with opened(tmp_path / "repo") as made:
        yield made


async def test_what_is_wanted_comes_up_until_it_is_kept(repo):
    pins = Pins(repo.database)
    await repo.database.write(lambda conn: want(conn, ["/ipfs/a", "/ipfs/b"]), durable=False)
    assert await pins.due(0, 10) == [("/ipfs/a", 0), ("/ipfs/b", 0)]
    assert await pins.due(0, 1) == [("/ipfs/a", 0)]
    await pins.kept("/ipfs/a")
    assert await pins.due(0, 10) == [("/ipfs/b", 0)]
    assert await pins.counts() == (1, 1)
    await repo.database.write(lambda conn: want(conn, ["/ipfs/a"]), durable=False)
    assert await pins.counts() == (1, 1)  # what is kept is not wanted again


async def test_a_failure_puts_a_want_off_and_counts_it_but_a_new_peer_brings_it_up(repo):
    pins = Pins(repo.database)
    await repo.database.write(lambda conn: want(conn, ["/ipfs/a"]), durable=False)
    await pins.failed("/ipfs/a", 50)
    assert await pins.next_due() == 50
    assert await pins.due(49, 10) == []
    assert await pins.due(50, 10) == [("/ipfs/a", 1)]
    await pins.retry_now()
    assert await pins.due(0, 10) == [("/ipfs/a", 1)]
    await pins.kept("/ipfs/a")
    await pins.failed("/ipfs/a", 60)
    assert await pins.next_due() is None


async def test_wants_survive_a_restart(tmp_path):
    with opened(tmp_path / "repo") as repo:
        await repo.database.write(lambda conn: want(conn, ["/ipfs/a"]), durable=False)
        await Pins(repo.database).failed("/ipfs/a", 7)
    with opened(tmp_path / "repo") as repo:
        assert await Pins(repo.database).due(7, 10) == [("/ipfs/a", 1)]


async def test_a_full_replica_wants_all_that_is_in_the_log(repo):
    store, pins = LogStore(repo.database), Pins(repo.database)
    await store.create(MANIFEST)
    entries = [(await append(store, number=number))[0] for number in (1, 2, 2)]
    await pins.kept(entries[0].contribution.path)
    await pins.want_all()
    assert await pins.due(0, 10) == [(entries[1].contribution.path, 0)]


async def test_a_newer_validation_replaces_the_older(repo):
    validations = Validations(repo.database)
    assert await validations.get("/ipfs/a") is None
    for votes, valid in ((0, True), (3, False)):
        verdict = "valid" if valid else "invalid"
        record = Validation("/ipfs/a", valid, votes, "integrity/1", votes, verdict, b"plan", "why")
        await repo.database.write(lambda conn, record=record: record_validation(conn, record), durable=False)
        assert await validations.get("/ipfs/a") == record


async def test_of_a_member_s_records_the_newest_is_kept(repo):
    members = Members(repo.database)
    old, new = (create_record(SIGNERS[0], (f"/ip4/1.1.1.{seq}/tcp/1",), seq, False, "eu") for seq in (1, 2))
    for records in ([old], [new], [old], [old, new]):
        await members.keep(records)
    assert await members.load() == [new.data]


async def test_members_are_bounded_and_the_longest_unheard_of_go_first(repo, monkeypatch):
    monkeypatch.setattr(tables, "MAX_MEMBERS", 5)
    records = [create_record(Signer.from_seed(bytes([n]) * 32), (), n, False, "") for n in range(1, 10)]
    await Members(repo.database).keep(records)
    assert await Members(repo.database).load() == [record.data for record in reversed(records[-5:])]


async def test_a_full_replica_looks_at_each_entry_at_one_start_only(repo):
    store, pins = LogStore(repo.database), Pins(repo.database)
    await store.create(MANIFEST)
    await append(store, number=1)
    await pins.want_all()
    await repo.database.write(lambda conn: conn.execute("DELETE FROM pins"), durable=False)
    later, _ = await append(store, number=2)
    await pins.want_all()
    assert await pins.due(0, 10) == [(later.contribution.path, 0)]


steps = st.lists(
    st.tuples(st.sampled_from(["want", "keep", "pin", "fail"]), st.sampled_from("abc")), max_size=30
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
async def test_the_counts_are_those_of_the_table(tmp_path_factory, steps):
    with opened(tmp_path_factory.mktemp("pins") / "repo") as repo:
        pins, database = Pins(repo.database), repo.database
        for step, path in steps:
            if step == "want":
                await database.write(lambda conn, path=path: want(conn, [path]), durable=False)
            elif step == "pin":
                await database.write(lambda conn, path=path: pin(conn, path), durable=False)
            elif step == "keep":
                await pins.kept(path)
            else:
                await pins.failed(path, 5)
        rows = await database.read(lambda conn: conn.execute("SELECT pinned FROM pins").fetchall())
        kept = sum(pinned for (pinned,) in rows)
        assert await pins.counts() == (len(rows) - kept, kept)
