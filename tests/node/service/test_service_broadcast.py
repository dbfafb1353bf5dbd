"""Each entry reaches every node, once over a tree that it finds by itself, also when the tree breaks."""

import itertools

import pytest
import trio
from service_helpers import address, eventually, number_of_entries, post, same, world

from peersdb.core.wire import Entries, Have
from peersdb.service import broadcast
from peersdb.service.arrivals import Arrivals


def counted(nodes):
    """Counts the copies of entries that these nodes get by pushes."""
    copies = [0]

    def watch(node):
        links = node._links
        inner = links.on_message

        async def on_message(peer, message):
            if isinstance(message, Entries) and message.live:
                copies[0] += len(message.entries)
            await inner(peer, message)

        links.on_message = on_message

    for node in nodes:
        watch(node)
    return copies


async def mesh(nodes, number):
    """So many nodes, each connected to each."""
    made = [await nodes.start("root", root=True)]
    for one in range(1, number):
        made.append(await nodes.start(f"n{one}", bootstrap=(address(made[0]),)))
    await eventually(lambda: all(len(node.replication.agreed) == number - 1 for node in made))
    return made


async def test_in_a_full_mesh_an_entry_comes_to_each_node_nearly_once(tmp_path):
    async with world(tmp_path) as nodes:
        made = await mesh(nodes, 8)
        await post(made[3], [0])
        await eventually(lambda: same(*made))
        copies = counted(made)
        for number in range(1, 31):  # one after the other: each goes its own way
            await post(made[3], [number])
            await eventually(lambda number=number: all(number_of_entries(n) == number + 1 for n in made))
        # Flooding would bring each entry to each of the other seven from up to seven: 30 x 49.
        assert copies[0] + 20 >= 30 * 7
        assert copies[0] < 30 * 7 * 2


async def test_the_second_entry_of_a_writer_is_not_flooded_also_where_checking_takes_long(
    tmp_path, monkeypatch
):
    take = Arrivals.take

    async def slow(*arguments):
        await trio.sleep(0.3)
        return await take(*arguments)

    async with world(tmp_path) as nodes:
        made = await mesh(nodes, 8)
        monkeypatch.setattr(Arrivals, "take", slow)
        await post(made[3], [0])
        await eventually(lambda: same(*made))
        await trio.sleep(0.5)  # what came twice is declined at the next tick
        copies = counted(made)
        await post(made[3], [1])
        await eventually(lambda: same(*made))
        await trio.sleep(0.5)
        assert 7 <= copies[0] < 49 / 2  # flooded, it would be up to 49


async def test_every_writer_has_a_tree_of_its_own(tmp_path):
    async with world(tmp_path) as nodes:
        made = await mesh(nodes, 5)
        for number, node in zip(range(20), itertools.cycle(made), strict=False):
            await post(node, [number])
            await eventually(lambda number=number: all(number_of_entries(n) == number + 1 for n in made))
        copies = counted(made)
        for number, node in zip(range(20, 40), itertools.cycle(made), strict=False):
            await post(node, [number])
            await eventually(lambda number=number: all(number_of_entries(n) == number + 1 for n in made))
        assert copies[0] < 20 * 4 * 2


async def test_when_a_node_of_the_tree_leaves_entries_still_come_at_once(tmp_path, monkeypatch):
    async with world(tmp_path) as nodes:
        made = await mesh(nodes, 5)
        for number in range(10):
            await post(made[1], [number])
            await eventually(lambda number=number: all(number_of_entries(n) == number + 1 for n in made))
        await eventually(
            lambda: any(one._lazy for node in made for one in node.replication._sessions.values())
        )
        monkeypatch.setattr(broadcast, "INTERVAL", 3600.0)
        await trio.sleep(0.5)  # from now on nothing is announced: pushes alone bring it
        await nodes.stop("root", "n4")
        rest = made[1:4]
        await eventually(lambda: all(len(node.replication.agreed) == 2 for node in rest))
        for number in range(10, 20):
            await post(made[1], [number])
            with trio.fail_after(5):
                await eventually(lambda number=number: all(number_of_entries(n) == number + 1 for n in rest))


async def test_what_is_announced_and_never_pushed_is_fetched_and_pushed_from_then_on(tmp_path, monkeypatch):
    monkeypatch.setattr("peersdb.service.replication.DIGEST_INTERVAL", 3600.0)  # not by anti-entropy
    async with world(tmp_path) as nodes:
        root, a = await mesh(nodes, 2)
        await post(root, [0])
        await eventually(lambda: same(root, a))
        # As if the peer had got this writer's entries sooner from somebody who is silent now.
        (session,) = root.replication._sessions.values()
        session.announce_only([root._repo.signer.key_hex])
        (theirs,) = a.replication._sessions.values()
        theirs.pruned[root._repo.signer.key_hex] = trio.current_time()
        await post(root, [1])
        await eventually(lambda: number_of_entries(a) == 2)
        await eventually(lambda: not session._lazy)


@pytest.mark.parametrize("known", [True, False])
async def test_an_announcement_of_nothing_costs_one_question(tmp_path, known):
    async with world(tmp_path) as nodes:
        root, a = await mesh(nodes, 2)
        await post(root, [0])
        await eventually(lambda: same(root, a))
        digest = bytes(32) if not known else broadcast.digest_of((await root._log.entries([1]))[0][0])
        tree = a.replication._broadcast
        (session,) = a.replication._sessions.values()
        await tree.on_message(session, Have((digest,) * 3))
        assert len(tree._awaited) == (0 if known else 1)
        await eventually(lambda: not tree._awaited)
        assert session.faults == 0
