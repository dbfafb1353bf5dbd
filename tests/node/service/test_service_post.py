"""Posts from another thread than the node's: the same as the others, and never before peers were asked."""

import queue
import shutil

import pytest
import trio
from service_helpers import address, eventually, number_of_entries, paths, post, same, world

from peersdb.errors import BadRequest, NoStore
from peersdb.store.blocks import MAX_ROW
from peersdb.store.outcome import Report


async def post_soon(node, content, name=None):
    """Posts from a thread as HTTP does; the outcome, or None where it has to go the long way."""
    told = queue.SimpleQueue()

    def run():
        report = Report(lambda function, argument: function(argument), told.put)
        return told.get(timeout=20) if node.contributions.post_soon(content, name, report) else None

    outcome = await trio.to_thread.run_sync(run)
    if outcome is not None:
        node.contributions.posted(outcome)
    return outcome


async def everything(node):
    """What the node has of its posts, beyond clocks and chains."""
    rows, _ = await node.contributions.arrivals(0, 100)
    found = []
    for row in sorted(rows, key=lambda row: row.path):
        record = await node.contributions.is_valid(row.path)
        _, target = await node.contributions.get(row.path)
        found.append(
            (row.path, row.contributor, row.name, row.size, record.record.valid, target.read_bytes())
        )
    return found, (await node.status())["pins"]


@pytest.mark.parametrize("profile", ["unixfs-v1-2025", "unixfs-v0-2015"])
async def test_a_post_from_a_thread_is_the_one_that_the_node_would_make(tmp_path, profile):
    files = [(b"", None), (b"one", "name.csv"), (b"x" * (MAX_ROW - 100), None)]
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True, profile=profile)
        for content, name in files:
            assert (await post_soon(root, content, name)).error is None
        soon = await everything(root)
        await nodes.stop("root")
        for left in ("log", "peersdb.sqlite"):
            for path in (tmp_path / "root" / "repo").glob(f"{left}*"):
                path.unlink()
        root = await nodes.start("root", root=True, profile=profile)
        for content, name in files:
            await root.contributions.post(content, name)
        assert await everything(root) == soon


async def test_posts_from_threads_are_pushed_and_make_one_chain_with_the_others(tmp_path):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        a = await nodes.start("a", bootstrap=(address(root),))
        await eventually(lambda: root.replication.agreed and a.replication.agreed)
        await post(root, [0])  # peers are asked before the first one
        for number in range(1, 10):
            if number % 3:
                assert await post_soon(root, bytes([number])) is not None
            else:
                await post(root, [number])
        await eventually(lambda: same(root, a) and number_of_entries(a) == 10)
        assert await a.replication._store.vector() == {(root._repo.signer.key_hex, 0): 10}


async def test_before_peers_were_asked_for_its_chain_a_node_posts_nothing_from_a_thread(tmp_path):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        a = await nodes.start("a", bootstrap=(address(root),))
        await eventually(lambda: same(root, a))
        await post(a, [1])
        await nodes.stop("a")
        shutil.copytree(tmp_path / "a" / "repo", tmp_path / "copy")
        a = await nodes.start("a", bootstrap=(address(root),))
        await post(a, [2])
        await eventually(lambda: number_of_entries(root) == 2)
        await nodes.stop("a")
        shutil.rmtree(tmp_path / "a" / "repo")
        shutil.copytree(tmp_path / "copy", tmp_path / "a" / "repo")
        a = await nodes.start("a")
        assert a.replication.own_chain.free  # nobody to ask
        await a.connect(address(root))
        await eventually(lambda: a.replication.agreed)
        assert await post_soon(a, b"x") is None
        await post(a, [3])
        assert await post_soon(a, b"y") is not None
        await eventually(lambda: same(root, a) and number_of_entries(root) == 4)
        assert await root.replication._store.vector() == {(a._repo.signer.key_hex, 0): 4}


async def test_a_node_that_is_left_alone_posts_from_threads_again(tmp_path):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        await nodes.start("a", bootstrap=(address(root),))
        await eventually(lambda: root.replication.agreed)
        assert not root.replication.own_chain.free
        await nodes.stop("a")
        await eventually(lambda: root.replication.own_chain.free)
        assert await post_soon(root, b"x") is not None


async def test_what_cannot_be_posted_from_a_thread_is_said_before_anything_happened(tmp_path, monkeypatch):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        assert await post_soon(root, b"x" * (MAX_ROW + 1)) is None
        with pytest.raises(BadRequest, match="file name"):
            await post_soon(root, b"x", "a/b")
        monkeypatch.setattr("peersdb.store.database.MAX_QUEUE", 0)
        assert await post_soon(root, b"x") is None
        assert await paths(root) == []
        lonely = await nodes.start("lonely")
        with pytest.raises(NoStore):
            await post_soon(lonely, b"x")
