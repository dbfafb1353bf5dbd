"""Entries whose parents are not here wait, join when these come, and never fill the memory."""

import random

import pytest
import trio
from service_helpers import Chain, batch

from peersdb.core.manifest import contributions_manifest
from peersdb.errors import NoStore, StorageError
from peersdb.service.arrivals import MAX_PARKED, MAX_PARKED_PER_PEER, PARKED_FOR, Arrivals
from peersdb.service.environment import Environment
from peersdb.store.log import LogStore
from peersdb.store.repo import Repo

MANIFEST = contributions_manifest("tests")


class Desk:
    """Arrivals over a real log, and what they told."""

    def __init__(self, path):
        self.repo = Repo(path / "repo", lambda size: b"\x01" * size)
        self.store = LogStore(self.repo.database)
        self.told, self.joined, self.refuse = [], [], False
        self.arrivals = Arrivals(self.store, Environment(lambda: 10**18), self._extra, self.told.extend)

    def _extra(self, _conn, entries):
        if self.refuse:
            raise StorageError("refused")
        self.joined += entries

    async def take(self, message, peer="peer"):
        return await self.arrivals.take(peer, message, MANIFEST.address)


@pytest.fixture
async def desk(tmp_path):
    made = Desk(tmp_path)
    await made.store.create(MANIFEST)
    yield made
    made.repo.close()


def chain_of(length, number=90):
    chain = Chain(number, MANIFEST.address)
    for _ in range(length):
        chain.entry()
    return chain


async def test_entries_join_in_causal_order_and_are_told_once(desk):
    chain = chain_of(10)
    mixed = list(chain.entries)
    random.Random(1).shuffle(mixed)
    arrived = await desk.take(batch(chain, mixed))
    assert arrived.accepted == desk.told == desk.joined == chain.entries
    assert (arrived.incomplete, arrived.faults, arrived.fingerprint.count) == (False, [], 10)
    again = await desk.take(batch(chain, mixed))
    assert (again.accepted, again.fingerprint, again.faults) == ([], None, [])
    assert desk.told == chain.entries


async def test_an_entry_waits_for_its_parent_and_joins_with_it(desk):
    chain = chain_of(4)
    first, second, third, fourth = chain.entries
    waiting = await desk.take(batch(chain, [third, fourth]))
    assert (waiting.accepted, waiting.incomplete, desk.arrivals.pending) == ([], True, 2)
    still = await desk.take(batch(chain, [first]), peer="another")
    assert (still.accepted, desk.arrivals.pending) == ([first], 2)
    done = await desk.take(batch(chain, [second]))
    assert done.accepted == [second, third, fourth]
    assert done.fingerprint.count == 4
    assert desk.arrivals.pending == 0
    assert desk.told == desk.joined == chain.entries


async def test_a_chain_that_comes_backwards_one_by_one_joins_whole(desk):
    chain = chain_of(60)
    for entry in reversed(chain.entries[1:]):
        await desk.take(batch(chain, [entry]))
    assert desk.arrivals.pending == 59
    arrived = await desk.take(batch(chain, chain.entries[:1]))
    assert arrived.accepted == chain.entries
    assert await desk.store.heads() == [chain.entries[-1].hash]


async def test_one_peer_s_orphans_are_bounded_and_leave_others_their_place(desk):
    hostile = Chain(91, MANIFEST.address)
    parent = hostile.entry().hash
    orphans = [
        hostile.entry(parents=(parent,), seq=n, previous=parent, keep=False)
        for n in range(2, MAX_PARKED_PER_PEER + 52)
    ]
    for at in range(0, len(orphans), 256):
        await desk.take(batch(hostile, orphans[at : at + 256]), peer="hostile")
    assert desk.arrivals.pending == MAX_PARKED_PER_PEER
    chain = chain_of(2)
    await desk.take(batch(chain, chain.entries[1:]), peer="honest")
    assert desk.arrivals.pending == MAX_PARKED_PER_PEER + 1
    assert (await desk.take(batch(chain, chain.entries[:1]), peer="honest")).accepted == chain.entries
    assert MAX_PARKED_PER_PEER < MAX_PARKED


async def test_parked_entries_are_given_up_after_a_while(desk, mock_clock):
    chain, other = chain_of(3), chain_of(3, number=92)
    await desk.take(batch(chain, chain.entries[1:]))
    mock_clock.jump(PARKED_FOR + 1)
    await desk.take(batch(other, other.entries[1:]))
    assert desk.arrivals.pending == 2
    assert (await desk.take(batch(chain, chain.entries[:1]))).accepted == chain.entries[:1]
    assert (await desk.take(batch(chain, chain.entries))).accepted == chain.entries[1:]  # they may come again


async def test_an_identity_is_sent_once_and_known_from_then_on(desk):
    chain = chain_of(2)
    await desk.take(batch(chain, chain.entries[:1]))
    bare = batch(chain, chain.entries[1:])
    bare = type(bare)(bare.entries, (), live=True, seq=0)
    assert (await desk.take(bare)).accepted == chain.entries[1:]
    restarted = Arrivals(desk.store, Environment(lambda: 10**18), desk._extra, desk.told.extend)
    chain.entry()
    bare = type(bare)((chain.entries[2].data,), (), live=True, seq=0)
    assert (await restarted.take("peer", bare, MANIFEST.address)).accepted == chain.entries[2:]


async def test_what_cannot_be_stored_is_an_error_and_may_come_again(desk):
    chain = chain_of(2)
    desk.refuse = True
    with pytest.raises(StorageError, match="refused"):
        await desk.take(batch(chain, chain.entries))
    assert await desk.store.heads() == []
    assert desk.told == []
    desk.refuse = False
    assert (await desk.take(batch(chain, chain.entries))).accepted == chain.entries


async def test_the_same_entries_from_many_peers_at_once_join_once(desk):
    chain = chain_of(200)
    arrived = []

    async def take(peer):
        arrived.append(await desk.take(batch(chain, chain.entries), peer))

    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(take, f"peer-{number}")
    assert sum(len(each.accepted) for each in arrived) == 200
    assert desk.told == chain.entries
    assert (await desk.store.state()).fingerprint.count == 200


async def test_without_a_log_nothing_arrives(tmp_path):
    desk = Desk(tmp_path)
    chain = chain_of(1)
    with pytest.raises(NoStore):
        await desk.take(batch(chain, chain.entries))
    desk.repo.close()
