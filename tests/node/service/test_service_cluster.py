"""Clusters of whole nodes: what is posted is everywhere, whoever was away, cut off or emptied."""

import shutil
import sqlite3
from contextlib import closing

import pytest
import trio
from service_helpers import (
    PATIENCE,
    Wire,
    address,
    eventually,
    free_port,
    number_of_entries,
    paths,
    post,
    same,
    world,
)
from structlog.testing import capture_logs

from peersdb.core.identity import Signer
from peersdb.errors import NoStore, RepoLocked, SettingsError
from peersdb.service import members


async def test_what_one_posts_is_in_all_and_in_the_same_order(tmp_path):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        a = await nodes.start("a", bootstrap=(address(root),))
        b = await nodes.start("b", bootstrap=(address(root),))
        await eventually(lambda: same(root, a, b))
        async with trio.open_nursery() as nursery:
            for start, node in enumerate((root, a, b)):
                nursery.start_soon(post, node, range(start * 100, start * 100 + 30))
        await eventually(lambda: same(root, a, b) and number_of_entries(root) == 90)
        assert await paths(root) == await paths(a) == await paths(b)
        assert len(set(await paths(root))) == 90


async def test_a_node_that_was_away_catches_up(tmp_path):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        a = await nodes.start("a", bootstrap=(address(root),))
        await eventually(lambda: same(root, a))
        await nodes.stop("a")
        await post(root, range(1200))  # several batches, more than one window
        a = await nodes.start("a", bootstrap=(address(root),))
        await eventually(lambda: same(root, a))
        assert await paths(a) == await paths(root)


async def test_both_sides_of_a_partition_post_and_are_one_again_after_it(tmp_path):
    async with world(tmp_path) as nodes, trio.open_nursery() as nursery:
        wires = {}
        for name in ("root", "a"):
            wires[name] = Wire(free_port(), nodes.port(name))
            await nursery.start(wires[name].run)

        def announced(name):
            # A full address needs the peer id, which the node adds.
            return (f"/ip4/127.0.0.1/tcp/{wires[name].port}",)

        root = await nodes.start("root", root=True, announce=announced("root"))
        a = await nodes.start("a", bootstrap=(address(root),), announce=announced("a"))
        await eventually(lambda: same(root, a))
        for wire in wires.values():
            wire.cut()
        await eventually(lambda: not root.host.connected and not a.host.connected)
        ours, theirs = await post(root, range(20)), await post(a, range(100, 120))
        assert not same(root, a)
        assert number_of_entries(root) == number_of_entries(a) == 20
        for wire in wires.values():
            wire.mend()
        await eventually(lambda: same(root, a))
        assert sorted(await paths(root)) == sorted(await paths(a)) == sorted(ours + theirs)
        assert await paths(root) == await paths(a)
        entry = await post(a, [500])
        await eventually(lambda: same(root, a))
        assert (await paths(root))[-1:] == entry
        assert len((await root.status())["peers"]) == 1
        nursery.cancel_scope.cancel()


async def test_a_connection_that_breaks_is_made_again_and_nothing_is_lost(tmp_path):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        a = await nodes.start("a", bootstrap=(address(root),))
        await eventually(lambda: same(root, a))
        for number in range(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(post, root, range(number * 100, number * 100 + 20))
                nursery.start_soon(post, a, range(number * 100 + 50, number * 100 + 70))
                nursery.start_soon(
                    (root if number % 2 else a).host.disconnect, (a if number % 2 else root).host.peer_id
                )
        await eventually(lambda: same(root, a))
        assert number_of_entries(root) == 200


async def test_a_root_that_restarts_has_its_log_and_its_peers_come_back(tmp_path):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        a = await nodes.start("a", bootstrap=(address(root),))
        first = await post(root, [1])
        await eventually(lambda: same(root, a) and number_of_entries(a) == 1)
        before = root.replication.state.address
        await nodes.stop("root")
        second = await post(a, [2])
        root = await nodes.start("root", root=True)
        assert root.replication.state.address == before
        assert root.ready() == ""
        await eventually(lambda: same(root, a))
        assert await paths(root) == first + second


async def test_two_clusters_connected_by_mistake_do_not_mix_and_are_told_by_name(tmp_path):
    async with world(tmp_path) as nodes:
        one, two = await nodes.start("one", root=True), await nodes.start("two", root=True)
        await post(one, [1])
        await post(two, [2])
        with capture_logs() as logs:
            await one.connect(address(two))
            await eventually(lambda: any("another cluster" in entry["event"] for entry in logs))
            await eventually(lambda: not one.host.connected and not two.host.connected)
        told = {(entry["ours"], entry["theirs"]) for entry in logs if "another cluster" in entry["event"]}
        addresses = one.replication.state.address, two.replication.state.address
        assert told & {addresses, addresses[::-1]}
        assert number_of_entries(one) == number_of_entries(two) == 1


async def test_members_of_another_cluster_are_not_dialled_again_and_again(tmp_path):
    async with world(tmp_path) as nodes:
        one, two = await nodes.start("one", root=True), await nodes.start("two", root=True)
        await post(one, [1])
        await post(two, [2])
        with capture_logs() as logs:
            await one.connect(address(two))
            await eventually(lambda: any("another cluster" in entry["event"] for entry in logs))
            await trio.sleep(1.5)  # time in which a loop would show itself
        assert sum("another cluster" in entry["event"] for entry in logs) <= 4


async def test_three_roots_started_together_make_one_log(tmp_path):
    async with world(tmp_path) as nodes:
        names = ("r1", "r2", "r3")
        for name in names:  # keys first, so that each can be told the others' addresses
            (tmp_path / name / "repo").mkdir(parents=True)
            (tmp_path / name / "repo" / "identity.key").write_bytes(name.encode().ljust(32))
        where = {
            name: f"/ip4/127.0.0.1/tcp/{nodes.port(name)}/p2p/{Signer.from_seed(name.encode().ljust(32)).peer_id}"
            for name in names
        }
        roots = {}

        async def start(name):
            others = tuple(where[other] for other in names if other != name)
            roots[name] = await nodes.start(name, root=True, bootstrap=others)

        with capture_logs() as logs:
            async with trio.open_nursery() as nursery:
                for name in names:
                    nursery.start_soon(start, name)
            await eventually(lambda: same(*roots.values()))
        assert not [entry for entry in logs if "another cluster" in entry["event"]]
        for number, root in enumerate(roots.values()):
            await post(root, [number])
        await eventually(lambda: same(*roots.values()) and number_of_entries(roots["r1"]) == 3)
        assert all(root.ready() == "" for root in roots.values())


@pytest.mark.parametrize("told", ["store", "bootstrap alone"])
async def test_a_root_with_an_emptied_disk_gets_the_old_log_back(tmp_path, told):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        a = await nodes.start("a", bootstrap=(address(root),))
        await post(root, range(10))
        await eventually(lambda: same(root, a))
        old = root.replication.state.address
        await nodes.stop("root")
        shutil.rmtree(tmp_path / "root" / "repo")
        root = await nodes.start(
            "root", root=True, bootstrap=(address(a),), store=old if told == "store" else ""
        )
        await eventually(lambda: same(root, a))
        assert root.replication.state.address == old
        assert number_of_entries(root) == 10
        await post(root, [100])
        await eventually(lambda: same(root, a) and number_of_entries(a) == 11)


async def test_a_root_that_is_told_its_store_never_makes_another(tmp_path):
    async with world(tmp_path) as nodes:
        other = await nodes.start("other", root=True)
        told = other.replication.state.address
        await nodes.stop("other")
        root = await nodes.start("root", root=True, store=told)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert root.replication.state is None
        assert "no contributions store" in root.ready()
        with pytest.raises(NoStore, match="-root"):
            await root.contributions.post(b"x")
        with pytest.raises(NoStore):
            await root.contributions.page()


async def test_a_node_that_is_told_another_store_than_it_holds_does_not_start(tmp_path):
    async with world(tmp_path) as nodes:
        one, two = await nodes.start("one", root=True), await nodes.start("two", root=True)
        address_of_two = two.replication.state.address
        await nodes.stop("one")
        with pytest.raises(SettingsError, match="leave the flag out"):
            await nodes.start("one", store=address_of_two)
        with pytest.raises(SettingsError, match="-store"):
            await nodes.start("three", store="/orbitdb/nonsense")
        with pytest.raises(RepoLocked):
            await nodes.start("two")
        again = await nodes.start("one", store=one.replication.state.address)
        assert again.replication.state.address == one.replication.state.address


async def test_a_member_finds_the_others_and_the_cluster_lives_without_its_root(tmp_path):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        a = await nodes.start("a", bootstrap=(address(root),))
        b = await nodes.start("b", bootstrap=(address(root),))
        await eventually(lambda: b.host.peer_id in a.host.connected)
        await eventually(lambda: same(root, a, b) and not a.ready() and not b.ready())
        await nodes.stop("root")
        await post(a, [1])
        await eventually(lambda: same(a, b) and number_of_entries(b) == 1)
        newcomer = await nodes.start("newcomer", bootstrap=(address(a),))
        await eventually(lambda: same(a, b, newcomer) and b.host.peer_id in newcomer.host.connected)
        await nodes.stop("a", "b")
        # Nobody who was told to it lives: its peers are found by what it has on its disk.
        a = await nodes.start("a")
        b = await nodes.start("b")
        await eventually(lambda: len(newcomer.host.connected) == len(a.host.connected) == 2)
        await post(newcomer, [2])
        await eventually(lambda: same(a, b, newcomer) and number_of_entries(b) == 2)


async def test_a_node_is_ready_once_it_was_in_sync_and_stays_so_after_a_restart(tmp_path):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        assert root.ready() == ""  # what it is the only member of, it is in sync with
        await post(root, range(300))
        a = await nodes.start("a")
        assert "no contributions store" in a.ready()
        assert not (await a.status())["ready"]
        await a.connect(address(root))
        await eventually(lambda: not a.ready())
        assert number_of_entries(a) == 300
        await nodes.stop("a", "root")
        a = await nodes.start("a")
        assert a.ready() == ""
        assert (await a.status())["entries"] == 300


async def test_status_says_what_is(tmp_path):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True, region="eu")
        a = await nodes.start("a", bootstrap=(address(root),), region="us")
        await post(root, [1])
        await eventually(lambda: same(root, a) and number_of_entries(a) == 1)
        await eventually(lambda: root.membership.record(a.host.peer_id))
        status = await root.status()
        assert status["peers"] == [{"peerId": a.host.peer_id, "region": "us", "root": False}]
        assert (await a.status())["peers"] == [{"peerId": root.host.peer_id, "region": "eu", "root": True}]
        assert (status["entries"], status["heads"], status["region"], status["root"]) == (1, 1, "eu", True)
        assert status["fingerprint"] == (await a.status())["fingerprint"]
        assert status["storeAddress"] == (await a.status())["storeAddress"]
        assert status["addrs"] == [address(root)]


async def test_the_end_of_a_node_takes_moments(tmp_path):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        a = await nodes.start("a", bootstrap=(address(root),))
        await eventually(lambda: same(root, a))
        with trio.fail_after(5):
            await nodes.stop("root")
        await eventually(lambda: not a.host.connected)
        assert PATIENCE > 5


async def test_a_few_that_found_each_other_go_on_looking_for_their_bootstrap_peers(tmp_path):
    async with world(tmp_path) as nodes:
        late = address(await nodes.start("late"))
        await nodes.stop("late")
        a = await nodes.start("a", root=True, bootstrap=(late,))
        b = await nodes.start("b", bootstrap=(address(a), late))
        await post(a, [1])
        await eventually(lambda: same(a, b) and number_of_entries(b) == 1)
        again = await nodes.start("late")  # it knows nobody
        await eventually(lambda: same(a, b, again))


async def acquainted(nodes):
    """Two nodes, a root and b, that know each other and have stopped."""
    a = await nodes.start("a", root=True)
    b = await nodes.start("b", bootstrap=(address(a),))
    await eventually(lambda: same(a, b) and a.membership.count == b.membership.count == 1)
    await nodes.stop("a", "b")


async def test_a_node_with_enough_connections_looks_for_others_all_the_same(tmp_path, monkeypatch):
    async with world(tmp_path) as nodes:
        await acquainted(nodes)
        monkeypatch.setattr(members, "TARGET", 0)
        monkeypatch.setattr(members, "EXPLORE", 0.1)
        a, b = await nodes.start("a", root=True), await nodes.start("b")
        await eventually(lambda: a.host.connected and b.host.connected)


async def test_a_node_with_few_connections_dials_those_again_that_were_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(members, "LONELY_BACKOFF", 1.0)
    monkeypatch.setattr(members, "BACKOFF", (3600.0,))
    async with world(tmp_path) as nodes:
        await acquainted(nodes)
        with closing(sqlite3.connect(tmp_path / "b" / "repo" / "peersdb.sqlite")) as database, database:
            database.execute("DELETE FROM members")  # it will not dial anybody
        a = await nodes.start("a", root=True)
        await eventually(lambda: [dial.attempts for dial in a.membership._dials.values()] == [1])
        await nodes.start("b")
        await eventually(lambda: a.host.connected)


async def test_a_connection_that_exploring_finds_no_use_for_is_given_up(tmp_path, monkeypatch):
    async with world(tmp_path) as nodes:
        await acquainted(nodes)
        monkeypatch.setattr(members, "TARGET", 0)
        monkeypatch.setattr(members, "EXPLORE", 5.0)
        monkeypatch.setattr(members, "EXPLORED", 0.5)
        a, b = await nodes.start("a", root=True), await nodes.start("b")
        await eventually(lambda: a.host.connected)
        await eventually(lambda: not a.host.connected)
        await post(a, [1])
        # They meet again, which brings b something new.
        await eventually(lambda: same(a, b) and number_of_entries(b) == 1)
        await trio.sleep(3 * members.EXPLORED)
        assert a.host.connected == [b.host.peer_id]
