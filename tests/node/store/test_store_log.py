"""The log on disk does what the model in memory does."""

from itertools import pairwise

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_helpers import (
    EMPTY_LOG,
    MANIFEST,
    SIGNERS,
    Cluster,
    append,
    cluster_of,
    contribution,
    fresh_log,
    nothing,
    opened,
    payload,
)

from peersdb.core.entry import MAX_NEXT
from peersdb.core.log import plan_join
from peersdb.core.manifest import contributions_manifest
from peersdb.core.reconcile import EMPTY, advance, gaps
from peersdb.errors import NoStore, StorageError
from peersdb.store.log import LogStore

steps = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=20)
# Each example opens a database of its own.
few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
IDENTITIES = [signer.identity for signer in SIGNERS]


def model_vector(log):
    present = {}
    for entry in log.entries.values():
        c = entry.contribution
        present.setdefault((entry.key, c.epoch), set()).add(c.seq)
    return {writer: advance(0, seqs) for writer, seqs in present.items()}


def model_fingerprint(log):
    fingerprint = EMPTY
    for hash_ in log.entries:
        fingerprint = fingerprint.add(hash_)
    return fingerprint


async def all_rows(store, limit):
    rows, cursor = await store.page(None, limit)
    while cursor is not None:
        more, cursor = await store.page(cursor, limit)
        rows += more
    return rows


async def assert_equals(store, log):
    state = await store.state()
    assert set(await store.heads()) == log.heads
    assert await store.vector() == model_vector(log)
    assert state.fingerprint == model_fingerprint(log)
    expected = [(c.path, c.contributor, c.creation_ts) for c in (entry.contribution for entry in log.values)]
    for limit in (1, 3, 1000):
        rows = await all_rows(store, limit)
        assert [(row.path, row.contributor, row.created) for row in rows] == expected


@few
@given(steps, st.randoms(use_true_random=False))
async def test_heads_vector_fingerprint_and_order_equal_the_model_s_after_any_batches(steps, rng):
    whole = cluster_of(steps).whole
    entries = list(whole.entries.values())
    rng.shuffle(entries)
    model, parked = EMPTY_LOG, []
    async with fresh_log() as store:
        while entries:
            cut = rng.randint(1, len(entries))
            batch, entries = entries[:cut] + parked, entries[cut:]
            joined = await store.join(batch, IDENTITIES, nothing)
            plan = plan_join(batch, model.entries.__contains__)
            assert joined.plan == plan
            parked = [entry for entry, _ in plan.parked.values()]
            model = model.join_entries(batch)
            assert joined.fingerprint == model_fingerprint(model)
            await assert_equals(store, model)
        assert model == whole


@few
@given(steps, st.integers(0, 2), st.integers(0, 2))
async def test_gaps_are_exactly_what_the_other_lacks_and_come_oldest_first(steps, mine, theirs):
    cluster = cluster_of(steps)
    ours, other = cluster.logs[mine], cluster.logs[theirs]
    async with fresh_log() as store:
        await store.join(ours.values, IDENTITIES, nothing)
        ids = await store.gap_ids(gaps(model_vector(other), await store.vector()))
        data, identities = await store.entries(ids)
    expected = [entry for entry in ours.values if entry.hash not in other.entries]
    assert data == [entry.data for entry in expected]
    assert sorted(identities) == sorted(
        identity.bytes for identity in IDENTITIES if identity.hash in {entry.identity for entry in expected}
    )


async def test_gaps_can_be_asked_by_many_at_once():
    cluster = cluster_of([(0, 0)] * 5)
    async with fresh_log() as store:
        await store.join(cluster.whole.values, IDENTITIES, nothing)
        found = []

        async def ask(first):
            found.append((first, len(await store.gap_ids([(SIGNERS[0].key_hex, 0, first, 5)]))))

        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(ask, number % 5 + 1)
        assert len(found) == 40
        assert all(count == 6 - first for first, count in found)
        with pytest.raises(
            StorageError, match="readonly"
        ):  # the reader that was used for it reads only again
            await store._database.read(lambda conn: conn.execute("DELETE FROM entries"))


async def test_joining_twice_changes_nothing():
    whole = cluster_of([(0, 0), (1, 1), (2, 0), (2, 2)]).whole
    async with fresh_log() as store:
        first = await store.join(whole.values, IDENTITIES, nothing)
        again = await store.join(whole.values, IDENTITIES, nothing)
        assert again.fingerprint == first.fingerprint
        assert (again.plan.accepted, again.plan.duplicates) == ([], len(whole.entries))
        await assert_equals(store, whole)


async def test_a_hole_in_a_writer_s_chain_holds_its_vector_back():
    """The chain's links are in the payload: a writer that forks its log can leave a hole that parents do not."""
    cluster = Cluster()
    entries = [cluster.append(0) for _ in range(3)]
    forked = Cluster()
    forked.chains[0] = (3, entries[2].hash)
    fourth = forked.append(0)  # seq 4, with no parents
    async with fresh_log() as store:
        await store.join([entries[0], fourth], IDENTITIES, nothing)
        assert await store.vector() == {(SIGNERS[0].key_hex, 0): 1}
        await store.join(entries[1:], IDENTITIES, nothing)
        assert await store.vector() == {(SIGNERS[0].key_hex, 0): 4}


async def test_appends_equal_the_model_s_and_chain():
    async with fresh_log() as store:
        model = EMPTY_LOG
        for number in range(1, 6):
            entry, fingerprint = await append(store, number=number)
            model = model.join_entries([entry])
            assert entry.contribution.seq == number
            assert fingerprint == model_fingerprint(model)
        await assert_equals(store, model)
        assert len(model.heads) == 1


async def test_concurrent_appends_make_one_chain():
    async with fresh_log() as store:
        made = []

        async def write(number):
            made.append((await append(store, number=number))[0])

        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(write, number)
        made.sort(key=lambda entry: entry.contribution.seq)
        assert [entry.contribution.seq for entry in made] == list(range(1, 31))
        assert [entry.clock.time for entry in made] == list(range(1, 31))
        for parent, child in pairwise(made):
            assert child.next == (parent.hash,)
            assert child.contribution.prev == parent.hash


def refuse(_conn, _entry):
    raise StorageError("refused")


def lose(conn, _entry):
    """Ends the transaction as a full disk does: the whole batch is lost."""
    conn.execute("ROLLBACK")
    raise StorageError("lost")


@few
@given(
    st.lists(
        st.sampled_from(["append", "append", "refuse", "lose", "other", "sees", "join", "epoch"]), max_size=25
    )
)
async def test_own_entries_go_on_from_the_log_as_it_is_whatever_happened_in_between(steps):
    """An append remembers where the next one goes on; joins, failures and new epochs must not mislead it."""
    other, model, own, epoch = Cluster(), EMPTY_LOG, [], 0
    async with fresh_log() as store:
        for number, step in enumerate(steps, 1):
            match step:
                case "append":
                    entry, fingerprint = await append(store, number=number)
                    assert set(entry.next) == model.heads
                    assert entry.clock.time == max((e.clock.time for e in model.values), default=0) + 1
                    same = [e for e in own if e.contribution.epoch == epoch]
                    assert (entry.contribution.epoch, entry.contribution.seq) == (epoch, len(same) + 1)
                    assert entry.contribution.prev == (own[-1].hash if own else None)
                    own.append(entry)
                    model = model.join_entries([entry])
                    assert fingerprint == model_fingerprint(model)
                case "refuse" | "lose":
                    extra = refuse if step == "refuse" else lose
                    with pytest.raises(StorageError):
                        await store.append(SIGNERS[0], payload(SIGNERS[0], number), extra)
                case "other":
                    other.append(1)
                case "sees":
                    other.logs[1] = other.logs[1].join(model)
                case "join":
                    model = model.join(other.logs[1])
                    await store.join(other.logs[1].values, IDENTITIES, nothing)
                case "epoch":
                    epoch += 1
                    await store.begin_epoch(epoch)
        await assert_equals(store, model)


async def test_own_entries_above_a_hole_of_the_own_chain_leave_the_vector_below_it():
    forked = Cluster()
    forked.chains[0] = (3, Cluster().append(0).hash)
    fourth = forked.append(0)  # what a restored repo gets back first
    async with fresh_log() as store:
        await store.join([fourth], IDENTITIES, nothing)
        seqs = [(await append(store, number=number))[0].contribution.seq for number in (2, 3, 4)]
        assert seqs == [5, 6, 7]
        assert await store.vector() == {(SIGNERS[0].key_hex, 0): 0}


async def test_more_heads_than_an_entry_may_name_are_merged_by_the_next_ones():
    cluster = Cluster()
    roots = []
    for _ in range(MAX_NEXT + 8):
        roots.append(cluster.append(1))
        cluster.logs[1] = EMPTY_LOG
    model = EMPTY_LOG.join_entries(roots)
    async with fresh_log() as store:
        await store.join(roots, IDENTITIES, nothing)
        for number in (1, 2, 3):
            entry, _ = await append(store, number=number)
            model = model.join_entries([entry])
            await assert_equals(store, model)
        assert len(model.heads) == 1


async def test_an_append_goes_above_what_was_joined():
    cluster = cluster_of([(1, 1), (1, 1), (2, 2)])
    async with fresh_log() as store:
        await store.join(cluster.whole.values, IDENTITIES, nothing)
        entry, _ = await append(store)
        assert set(entry.next) == cluster.whole.heads
        assert entry.clock.time == 3
        assert await store.heads() == [entry.hash]


async def test_what_belongs_to_an_append_happens_with_it_or_not_at_all():
    async with fresh_log() as store:
        before = await store.state()
        with pytest.raises(StorageError, match="refused"):
            await store.append(SIGNERS[0], payload(SIGNERS[0], 1), refuse)
        with pytest.raises(StorageError, match="refused"):
            await store.join([Cluster().append(1)], IDENTITIES, refuse)
        assert await store.state() == before
        assert await store.heads() == []
        entry, _ = await append(store)
        assert entry.contribution.seq == 1


async def test_without_a_log_nothing_is_appended_or_joined(tmp_path):
    with opened(tmp_path / "repo") as repo:
        store = LogStore(repo.database)
        assert await store.state() is None
        with pytest.raises(NoStore, match="-root"):
            await append(store)
        with pytest.raises(NoStore):
            await store.join([Cluster().append(0)], IDENTITIES, nothing)


async def test_a_log_is_made_once_and_given_up_only_while_it_is_empty():
    other = contributions_manifest("other")
    async with fresh_log() as store:
        await store.create(other)
        assert (await store.state()).address == MANIFEST.address
        await store.create(other, replace_empty=True)
        assert (await store.state()).address == other.address
        await append(store)
        await store.create(MANIFEST, replace_empty=True)
        assert (await store.state()).address == other.address


async def test_the_log_and_that_it_was_in_sync_survive_a_restart(tmp_path):
    with opened(tmp_path / "repo") as repo:
        store = LogStore(repo.database)
        await store.create(MANIFEST)
        assert not (await store.state()).synced
        await store.mark_synced()
        entry, fingerprint = await append(store)
    with opened(tmp_path / "repo") as repo:
        store = LogStore(repo.database)
        state = await store.state()
        assert (state.address, state.synced, state.fingerprint) == (MANIFEST.address, True, fingerprint)
        assert await store.heads() == [entry.hash]
        assert (await append(store, number=2))[0].contribution.prev == entry.hash


async def test_what_is_known_is_told():
    cluster = Cluster()
    first, second = cluster.append(0), cluster.append(1)
    async with fresh_log() as store:
        await store.join([first], [SIGNERS[0].identity], nothing)
        assert await store.known([first.hash, second.hash]) == {first.hash}
        assert await store.known_identity(SIGNERS[0].identity.hash) == SIGNERS[0].identity.bytes
        assert await store.known_identity(SIGNERS[1].identity.hash) is None
        assert await store.contributor_of(first.contribution.path) == SIGNERS[0].peer_id
        assert await store.contributor_of(second.contribution.path) is None


async def test_paths_are_found_by_their_beginning_each_once_and_the_newest_without_one():
    async with fresh_log() as store:
        for number in (3, 1, 2, 1):
            await append(store, number=number)
        by_number = {number: contribution(SIGNERS[0], number, 1, None).path for number in (1, 2, 3)}
        in_order = sorted(by_number.values())
        assert [path for path, _ in await store.paths("/ipfs/", 10)] == in_order
        assert [path for path, _ in await store.paths("/ipfs/", 2)] == in_order[:2]
        assert await store.paths(by_number[2][:-1], 10) == [(by_number[2], "file-2")]
        assert await store.paths("/ipfs/z", 10) == await store.paths("%", 10) == []
        assert [path for path, _ in await store.paths("", 10)] == [by_number[number] for number in (1, 2, 3)]
