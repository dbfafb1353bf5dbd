"""Votes reach every member, also those who come later; who forges, floods or contradicts himself is found out."""

import shutil

import pytest
import trio
from service_helpers import address, eventually, post, same, stranger, world
from structlog.testing import capture_logs

from peersdb.core.ballots import MAX_VOTES, Vote, create_ballot, decode_ballot, log_hash
from peersdb.core.cid import CID, ipfs_path
from peersdb.core.identity import Signer
from peersdb.core.wire import Ballots, Equivocation, VoteHeads, VoteVector
from peersdb.errors import DiskFull
from peersdb.store.ballots import MAX_EPOCHS


def vote(number, verdict="valid"):
    return Vote(CID.of(b"%d" % number), "csv/1", b"\x02" * 32, verdict)


def path(number):
    return ipfs_path(CID.of(b"%d" % number))


def ballot(node, signer, *votes, seq=1, prev=b"", epoch=1, log=None):
    log = log or node.replication.state.address
    return create_ballot(signer, log_hash(log), epoch=epoch, seq=seq, prev=prev, ts=1, votes=votes)


def live(*ballots):
    return Ballots(tuple(getattr(one, "data", one) for one in ballots), live=True, more=False)


def faults(node, peer):
    session = node.replication._sessions.get(peer.host.peer_id)
    return session.faults if session else None


async def says(node, number):
    """What each voter says of a file, as far as the node knows."""
    return await node.votes._store.verdicts(path(number))


async def counts(node):
    return await node.votes._store.counts()


async def test_a_vote_reaches_every_member_at_once(tmp_path):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        a = await nodes.start("a", bootstrap=(address(root),))
        b = await nodes.start("b", bootstrap=(address(root),))
        await eventually(lambda: same(root, a, b))
        await a.votes.cast((vote(1, "invalid"),))

        async def everywhere():
            return [await says(node, 1) for node in (root, a, b)] == [{a.host.peer_id: "invalid"}] * 3

        await eventually(everywhere)
        assert root.votes._fingerprint() == a.votes._fingerprint() == b.votes._fingerprint()


async def test_a_newcomer_has_all_votes_also_while_their_voters_are_down(tmp_path):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        a = await nodes.start("a", bootstrap=(address(root),))
        await eventually(lambda: same(root, a))
        numbers = range(3 * MAX_VOTES)
        async with trio.open_nursery() as nursery:
            for number in numbers:
                nursery.start_soon(a.votes.cast, (vote(number),))

        async def told():
            return await counts(root) == (1, len(numbers))

        await eventually(told)
        await nodes.stop("a")
        b = await nodes.start("b", bootstrap=(address(root),))

        async def has_all():
            return await counts(b) == (1, len(numbers))

        await eventually(has_all)
        assert list((await says(b, 5)).values()) == ["valid"]


async def test_more_than_one_message_of_votes_comes_batch_after_batch(tmp_path, monkeypatch):
    monkeypatch.setattr("peersdb.service.ballots.MAX_BALLOT_BYTES", 2000)
    monkeypatch.setattr("peersdb.service.casting.GATHER", 0)
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        for number in range(60):
            await root.votes.cast((vote(number),), wait=True)
        b = await nodes.start("b", bootstrap=(address(root),))

        async def has_all():
            return await counts(b) == (1, 60)

        await eventually(has_all)


async def test_votes_of_two_runs_stand_side_by_side_and_the_newer_holds(tmp_path):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        a = await nodes.start("a", bootstrap=(address(root),))
        await eventually(lambda: same(root, a))
        await a.votes.cast((vote(1), vote(2)), wait=True)
        await a.votes.cast((vote(2),), wait=True)
        voter = a.host.peer_id
        await nodes.stop("a")
        a = await nodes.start("a", bootstrap=(address(root),))
        await a.votes.cast((vote(1, "invalid"),), wait=True)

        async def newer():
            return await says(root, 1) == {voter: "invalid"} and await says(root, 2) == {voter: "valid"}

        await eventually(newer)


async def test_a_restored_volume_never_makes_its_node_contradict_itself(tmp_path):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        a = await nodes.start("a", bootstrap=(address(root),))
        await eventually(lambda: same(root, a))
        await a.votes.cast((vote(1),), wait=True)
        await nodes.stop("a")
        shutil.copytree(tmp_path / "a", tmp_path / "backup")
        a = await nodes.start("a", bootstrap=(address(root),))
        await a.votes.cast((vote(2),), wait=True)
        voter = a.host.peer_id

        async def told():
            return await says(root, 2) == {voter: "valid"}

        await eventually(told)
        await nodes.stop("a")
        shutil.rmtree(tmp_path / "a")
        shutil.copytree(tmp_path / "backup", tmp_path / "a")
        a = await nodes.start("a", bootstrap=(address(root),))
        await a.votes.cast((vote(3, "invalid"),), wait=True)

        async def all_of_it():
            return [await says(node, 2) | await says(node, 3) for node in (root, a)] == [
                {voter: "invalid"}
            ] * 2

        await eventually(all_of_it)
        assert root.votes.disqualified == {}


async def test_before_epochs_run_out_a_voter_says_all_again(tmp_path):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        voter = root.host.peer_id
        for number in range(MAX_EPOCHS + 3):
            await root.votes.cast((vote(number),), wait=True)
            await nodes.stop("root")
            root = await nodes.start("root", root=True)
        assert [await says(root, number) for number in range(MAX_EPOCHS + 3)] == [{voter: "valid"}] * (
            MAX_EPOCHS + 3
        )
        assert await root.votes._store.epochs(root._repo.signer.public_key) <= MAX_EPOCHS
        await root.votes.cast((vote(99),), wait=True)
        assert root.votes._tips == await root.votes._store.tips()  # what was forgotten is not told as had


async def test_who_says_one_thing_to_some_and_another_to_others_is_named_and_counts_no_more(tmp_path):
    async with world(tmp_path) as nodes, stranger() as liar:
        root = await nodes.start("root", root=True)
        a = await nodes.start("a", bootstrap=(address(root),))
        await eventually(lambda: same(root, a))
        yes, no = (ballot(root, liar.signer, vote(1, verdict)) for verdict in ("valid", "invalid"))
        await liar.meet(root)
        await liar.say(live(yes))
        voter = liar.host.peer_id
        with capture_logs() as logs:
            async with stranger(liar.signer.seed[0]) as twin:  # the same key at another door
                await twin.meet(a)
                await twin.say(live(no))
                await eventually(lambda: voter in root.votes.disqualified and voter in a.votes.disqualified)
        assert any(entry.get("voter") == voter for entry in logs)
        assert [await says(node, 1) for node in (root, a)] == [{}, {}]
        await nodes.stop("a")
        a = await nodes.start("a", bootstrap=(address(root),))
        assert voter in a.votes.disqualified
        late = await nodes.start("late", bootstrap=(address(a),))
        await liar.say(live(ballot(root, liar.signer, vote(5), epoch=2)))
        await post(root, [1])
        await eventually(lambda: same(root, a, late))
        assert [await says(node, 5) for node in (root, a, late)] == [{}, {}, {}]


async def test_a_branch_is_found_by_what_follows_it_too(tmp_path):
    async with world(tmp_path) as nodes, stranger() as liar:
        root = await nodes.start("root", root=True)
        await liar.meet(root)
        first, branch = (ballot(root, liar.signer, vote(1, verdict)) for verdict in ("valid", "invalid"))
        after = ballot(root, liar.signer, vote(2), seq=2, prev=branch.hash)
        await liar.say(live(first))
        await liar.say(live(after))
        await eventually(lambda: liar.host.peer_id in root.votes.disqualified)


async def test_a_proof_that_is_none_disqualifies_nobody(tmp_path):
    async with world(tmp_path) as nodes, stranger() as hostile:
        root = await nodes.start("root", root=True)
        await hostile.meet(root)
        one = ballot(root, hostile.signer, vote(1))
        await hostile.say(Equivocation(one.data, one.data))
        await eventually(lambda: faults(root, hostile) == 1)
        assert root.votes.disqualified == {}


def broken(data):
    return data[:-1] + bytes([data[-1] ^ 1])


FORGED = {
    "signature": lambda root, me: broken(ballot(root, me, vote(1)).data),
    "another cluster's": lambda root, me: ballot(root, me, vote(1), log="/orbitdb/zdpuother").data,
    "no ballot": lambda _root, _me: b"\xa0",
}


@pytest.mark.parametrize("kind", FORGED)
async def test_a_forged_ballot_is_a_fault_and_kept_by_nobody(tmp_path, kind):
    async with world(tmp_path) as nodes, stranger() as hostile:
        root = await nodes.start("root", root=True)
        await hostile.meet(root)
        await hostile.say(live(FORGED[kind](root, hostile.signer)))
        await eventually(lambda: faults(root, hostile) == 1)
        assert await counts(root) == (0, 0)


async def test_nobody_votes_for_others(tmp_path):
    async with world(tmp_path) as nodes, stranger() as hostile:
        root = await nodes.start("root", root=True)
        a = await nodes.start("a", bootstrap=(address(root),))
        await eventually(lambda: same(root, a))
        await hostile.meet(root)
        mine = ballot(root, hostile.signer, vote(1, "invalid"))
        data = mine.data.replace(hostile.signer.public_key, bytes.fromhex(a._repo.signer.key_hex))
        assert decode_ballot(data).peer_id == a.host.peer_id
        await hostile.say(live(data))
        await eventually(lambda: faults(root, hostile) == 1)
        assert await says(root, 1) == {}


async def test_votes_of_keys_that_no_member_has_are_not_kept(tmp_path):
    async with world(tmp_path) as nodes, stranger() as hostile:
        root = await nodes.start("root", root=True)
        await hostile.meet(root)
        sybils = [ballot(root, Signer.from_seed(bytes([200 + n]) * 32), vote(1)) for n in range(9)]
        await hostile.say(live(*sybils, ballot(root, hostile.signer, vote(2))))

        async def own_alone():
            return await says(root, 2) == {hostile.host.peer_id: "valid"}

        await eventually(own_alone)
        assert await says(root, 1) == {}


async def test_a_peer_that_asks_is_answered_and_told_what_is_here(tmp_path):
    async with world(tmp_path) as nodes, stranger() as asker:
        root = await nodes.start("root", root=True)
        await root.votes.cast((vote(1),), wait=True)
        await asker.meet(root)
        await eventually(lambda: asker.heard_of(VoteHeads))
        assert asker.heard_of(VoteHeads)[0].fingerprint == root.votes._fingerprint()
        await asker.say(VoteVector(()))
        await eventually(lambda: asker.heard_of(Ballots))
        (answer,) = asker.heard_of(Ballots)
        assert [decode_ballot(data).votes for data in answer.ballots] == [(vote(1),)]
        assert (answer.live, answer.more) == (False, False)
        await asker.say(VoteHeads(bytes(32)))
        await eventually(lambda: asker.heard_of(VoteVector))
        ((key, _, seq, _),) = asker.heard_of(VoteVector)[0].chains
        assert (key, seq) == (root._repo.signer.public_key, 1)


async def test_votes_that_the_disk_does_not_take_are_cast_once_it_does(tmp_path, monkeypatch):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        cast, refused = root.votes._store.cast, []

        async def full(
            *args,
        ):  # a full disk takes root and a file system to make: test_contract_disk_full has one
            if len(refused) < 2:
                refused.append(args)
                raise DiskFull("no space")
            return await cast(*args)

        monkeypatch.setattr(root.votes._store, "cast", full)
        with trio.fail_after(20):
            await root.votes.cast((vote(1),), wait=True)
        assert len(refused) == 2
        assert await says(root, 1) == {root.host.peer_id: "valid"}


async def test_ballots_are_passed_on_some_together_and_to_nobody_who_has_them(tmp_path, monkeypatch):
    monkeypatch.setattr("peersdb.service.members.TARGET", 0)  # a and b are connected to the root alone
    monkeypatch.setattr("peersdb.service.members.EXPLORE", 1e6)
    monkeypatch.setattr("peersdb.service.passon.PASS_ON", 20.0)  # two seconds, for these nodes
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        a, b = await nodes.start("a"), await nodes.start("b")
        await a.host.dial(address(root))
        await b.host.dial(address(root))
        await eventually(lambda: same(root, a, b))
        sent, send = [], root._links.send

        def record(peer, message):
            if isinstance(message, Ballots) and message.live:
                sent.append((peer, [decode_ballot(one).seq for one in message.ballots]))
            send(peer, message)

        monkeypatch.setattr(root._links, "send", record)
        for number in range(5):
            await a.votes.cast((vote(number),), wait=True)

        async def told():
            return await counts(b) == (1, 5)

        await eventually(told)
        assert sent == [(b.host.peer_id, [1, 2, 3, 4, 5])]


async def test_a_vote_that_somebody_waits_for_waits_for_no_others(tmp_path, monkeypatch):
    monkeypatch.setattr("peersdb.service.casting.GATHER", 3600.0)
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        await root.votes.cast((vote(1),))
        assert await says(root, 1) == {}
        await root.votes.cast((vote(2),), wait=True)  # and takes along what waits
        assert [await says(root, number) for number in (1, 2)] == [{root.host.peer_id: "valid"}] * 2
        await root.votes.cast((vote(3),))
        await root.votes.settle()
        assert await says(root, 3) == {root.host.peer_id: "valid"}
