"""Old copies of a repo, emptied disks and liars: a writer's chain goes on, and forks heal."""

import shutil

import trio
from service_helpers import (
    Chain,
    address,
    batch,
    eventually,
    number_of_entries,
    paths,
    post,
    same,
    stranger,
    world,
)

from peersdb.core.wire import Ack, WriterAnswer, WriterQuery
from peersdb.service import ownchain


async def chain_of(node, at=None):
    """(epoch, seq) of a node's own entries, as they are in its log or another's."""
    key = node._repo.signer.public_key
    return await (at or node)._repo.database.read(
        lambda conn: conn.execute(
            "SELECT epoch, seq FROM entries WHERE key = ? ORDER BY epoch, seq", (key,)
        ).fetchall()
    )


async def grown(nodes, tmp_path):
    """A root, and a node that has posted 5 files, was copied, and has posted 5 more."""
    root = await nodes.start("root", root=True)
    a = await nodes.start("a", bootstrap=(address(root),))
    await eventually(lambda: same(root, a))
    await post(a, range(5))
    await nodes.stop("a")
    shutil.copytree(tmp_path / "a" / "repo", tmp_path / "copy")
    a = await nodes.start("a", bootstrap=(address(root),))
    await post(a, range(5, 10))
    await eventually(lambda: same(root, a) and number_of_entries(root) == 10)
    await nodes.stop("a")
    return root


def restore(tmp_path):
    shutil.rmtree(tmp_path / "a" / "repo")
    shutil.copytree(tmp_path / "copy", tmp_path / "a" / "repo")


async def test_a_node_from_an_old_copy_goes_on_after_what_its_peers_have(tmp_path):
    async with world(tmp_path) as nodes:
        root = await grown(nodes, tmp_path)
        restore(tmp_path)
        a = await nodes.start("a", bootstrap=(address(root),))
        await eventually(lambda: root.host.peer_id in a.replication.agreed)
        await post(a, [100])
        await eventually(lambda: same(root, a) and number_of_entries(root) == 11)
        assert await chain_of(a, at=root) == [(0, seq) for seq in range(1, 12)]


async def test_a_node_that_kept_its_key_alone_goes_on_after_what_its_peers_have(tmp_path):
    async with world(tmp_path) as nodes:
        root = await grown(nodes, tmp_path)
        for path in (tmp_path / "a" / "repo").iterdir():
            if path.name not in {"identity.key", "blocks"}:
                path.unlink()
        a = await nodes.start("a", bootstrap=(address(root),))
        await eventually(lambda: root.host.peer_id in a.replication.agreed)
        await post(a, [100])
        await eventually(lambda: same(root, a) and number_of_entries(root) == 11)
        assert await chain_of(a) == [(0, seq) for seq in range(1, 12)]


async def test_a_fork_made_alone_is_healed_by_ranges_and_a_new_epoch(tmp_path):
    async with world(tmp_path) as nodes:
        root = await grown(nodes, tmp_path)
        restore(tmp_path)
        a = await nodes.start("a")  # nobody to ask
        before = await post(a, range(200, 205))
        assert await chain_of(a) == [(0, seq) for seq in range(1, 11)]
        await a.connect(address(root))
        # The vectors are equal now, the sets are not.
        await eventually(lambda: same(root, a) and number_of_entries(root) == 15)
        assert set(before) <= set(await paths(root))
        await post(a, [300])
        await eventually(lambda: same(root, a) and number_of_entries(root) == 16)
        assert (await chain_of(a, at=root))[-1] == (1, 1)
        assert await paths(a) == await paths(root)


async def test_a_fork_of_a_stranger_s_chain_reaches_all_replicas(tmp_path):
    async with world(tmp_path) as nodes, stranger() as hostile:
        root = await nodes.start("root", root=True)
        a = await nodes.start("a")
        await hostile.meet(root)
        chain = Chain(80, root.replication.state.address)
        first = chain.entry()
        left = chain.entry(parents=(first.hash,), seq=2, previous=first.hash, keep=False, time=2)
        right = chain.entry(parents=(first.hash,), seq=2, previous=first.hash, keep=False, time=3)
        assert left.hash != right.hash
        await hostile.say(batch(chain, [first, left, right]))
        await eventually(lambda: number_of_entries(root) == 3)
        # One replica has one side of the fork and is told the rest.
        await a.connect(address(root))
        await eventually(lambda: same(root, a))
        assert number_of_entries(a) == 3


async def test_each_of_two_replicas_with_another_side_of_a_fork_gets_the_other_one(tmp_path):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        a = await nodes.start("a", bootstrap=(address(root),))
        await eventually(lambda: same(root, a))
        await nodes.stop("a")
        chain = Chain(80, root.replication.state.address)
        first = chain.entry()
        sides = [
            chain.entry(parents=(first.hash,), seq=2, previous=first.hash, keep=False, time=time)
            for time in (2, 3)
        ]
        async with stranger() as hostile:
            await hostile.meet(root)
            await hostile.say(batch(chain, [first, sides[0]]))
            await eventually(lambda: number_of_entries(root) == 2)
        a = await nodes.start("a")
        async with stranger(67) as hostile:
            await hostile.meet(a)
            await hostile.say(batch(chain, [first, sides[1]]))
            await eventually(lambda: number_of_entries(a) == 2)
        await a.connect(address(root))
        await eventually(lambda: same(root, a) and number_of_entries(a) == 3)


async def test_a_liar_about_a_node_s_chain_cannot_use_up_its_epochs(tmp_path, monkeypatch):
    monkeypatch.setattr(ownchain, "CATCH_UP_TIMEOUT", 0.2)
    for number, claim in enumerate(((2**63 - 1, 1), (2**53, 1), (900, 2**63 - 1))):
        async with world(tmp_path / str(number)) as nodes, stranger() as liar:
            (tmp_path / str(number)).mkdir()
            root = await nodes.start("root", root=True)
            await liar.meet(root)
            await eventually(lambda root=root: root.replication.agreed)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(post, root, [1])
                await eventually(lambda liar=liar: liar.heard_of(WriterQuery))
                await liar.say(WriterAnswer(root._repo.signer.key_hex, *claim))
            await post(root, [2])
            assert number_of_entries(root) == 2
            assert max(await chain_of(root)) < (10_000, 0)


async def test_an_answer_that_nobody_asked_for_changes_nothing(tmp_path):
    async with world(tmp_path) as nodes, stranger() as liar:
        root = await nodes.start("root", root=True)
        await liar.meet(root)
        await liar.say(WriterAnswer(root._repo.signer.key_hex, 5, 5))
        await liar.say(batch(Chain(80, root.replication.state.address), []))
        await eventually(lambda: liar.heard_of(Ack))
        await post(root, [1])
        assert await chain_of(root) == [(0, 1)]
