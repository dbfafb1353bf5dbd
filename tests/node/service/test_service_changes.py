"""Who follows a node's changes misses nothing, whenever it asks and however the entries come."""

import pytest
import trio
from service_helpers import address, eventually, post, same, world

from peersdb.errors import NoStore


async def follow(node, limit, stop_at):
    """Follows from the beginning until so many came; gives them."""
    seq, found = 0, []
    while len(found) < stop_at:
        news = await node.changes.since(seq, limit, 20.0)
        assert len(news.rows) <= limit
        assert [number for number, _ in news.rows] == sorted(number for number, _ in news.rows)
        assert news.seq == (news.rows[-1][0] if news.rows else seq)
        seq = news.seq
        found += [row.path for _, row in news.rows]
    return found


@pytest.mark.parametrize("limit", [1, 3, 1000])
async def test_a_follower_gets_each_contribution_once_in_the_order_of_query(tmp_path, limit):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        a = await nodes.start("a", bootstrap=(address(root),))
        await eventually(lambda: same(root, a))
        found = {}

        async def watch(node):
            found[node.host.peer_id] = await follow(node, limit, 20)

        async with trio.open_nursery() as nursery:
            for node in (root, a, a):
                nursery.start_soon(watch, node)
            await post(root, range(10))
            await post(a, range(10, 20))
        for node in (root, a):
            rows, _ = await node.contributions.arrivals(0, 100)
            assert found[node.host.peer_id] == [row.path for row in rows]


async def test_without_news_it_waits_as_long_as_it_was_told(tmp_path):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        await post(root, [1])
        last = await root.changes.since(None, 10, 10.0)
        assert (last.seq, last.rows) == (1, [])
        for wait in (0.0, 0.3):
            began = trio.current_time()
            news = await root.changes.since(last.seq, 10, wait)
            assert (news.seq, news.rows) == (1, [])
            assert trio.current_time() - began >= wait


async def test_what_is_there_needs_no_wait(tmp_path):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        await post(root, [1])
        news = await root.changes.since(0, 10, 0.0)
        assert [number for number, _ in news.rows] == [1]


async def test_a_number_that_was_never_given_means_that_the_numbers_began_anew(tmp_path):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        await post(root, [1, 2])
        news = await root.changes.since(99, 10, 0.0)
        assert [number for number, _ in news.rows] == [1, 2]


async def test_the_clock_of_an_answer_is_the_nodes_own(tmp_path):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        before = root._environment.now_ns()
        news = await root.changes.since(None, 1, 0.0)
        assert before <= news.now <= root._environment.now_ns()


async def test_a_node_without_a_log_says_so(tmp_path):
    async with world(tmp_path) as nodes:
        alone = await nodes.start("alone")
        with pytest.raises(NoStore):
            await alone.changes.since(0, 1, 10.0)
