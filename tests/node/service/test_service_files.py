"""Files: got from whoever has them, whole or not at all, and wanted for ever by a full replica."""

import os

import pytest
import structlog
import trio
from service_helpers import address, eventually, number_of_entries, same, world

from peersdb.core.cid import CID
from peersdb.errors import BadRequest, InvalidCID, NotFound
from peersdb.store.tables import Pins, Validations

MIB = 1024 * 1024
BIG = 3 * MIB + 17


async def couple(nodes, **options):
    root = await nodes.start("root", root=True)
    a = await nodes.start("a", bootstrap=(address(root),), **options)
    await eventually(lambda: same(root, a))
    return root, a


async def pins(node):
    return (await node.status())["pins"]


@pytest.mark.parametrize("size", [0, 1, 16 * 1024, 16 * 1024 + 1, 1024 * 1024, BIG])
@pytest.mark.parametrize("profile", ["unixfs-v1-2025", "unixfs-v0-2015"])
async def test_a_file_comes_from_a_peer_as_it_was(tmp_path, size, profile):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True, profile=profile)
        a = await nodes.start("a", bootstrap=(address(root),))
        content = os.urandom(size)
        path = await root.contributions.post(content, "data.bin")
        await eventually(lambda: same(root, a) and number_of_entries(a) == 1)
        for text in (path, path.removeprefix("/ipfs/")):
            said, where = await a.contributions.get(text)
            assert said == path
            assert where == tmp_path / "a" / "downloads" / path.removeprefix("/ipfs/")
            assert where.read_bytes() == content
        assert [place.name for place in where.parent.iterdir()] == [where.name]  # nothing half-written


async def test_a_post_is_judged_pinned_and_recorded_in_one_step(tmp_path):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        path = await root.contributions.post(b"content", "name.txt")
        assert await pins(root) == {"wanted": 0, "pinned": 1}
        record = await Validations(root._repo.database).get(path)
        assert (record.valid, record.votes) == (True, 0)


@pytest.mark.parametrize("name", ["a/b", "..", "x" * 300, "a\x00b"])
async def test_a_name_that_is_none_is_refused_and_nothing_is_shared(tmp_path, name):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        with pytest.raises(BadRequest):
            await root.contributions.post(b"content", name)
        assert number_of_entries(root) == 0


async def test_what_nobody_has_is_not_found_and_what_is_no_cid_is_told(tmp_path):
    async with world(tmp_path) as nodes:
        _, a = await couple(nodes)
        unknown = str(CID.of(b"nobody has this"))
        with pytest.raises(NotFound, match="has not all of it"):
            await a.contributions.get(unknown)
        await nodes.stop("root")
        await eventually(lambda: not a.host.connected)
        with pytest.raises(NotFound, match="no peer is connected"):
            await a.contributions.get(unknown)
        with pytest.raises(InvalidCID):
            await a.contributions.get("/ipfs/nonsense")
        assert not (tmp_path / "a" / "downloads" / unknown).exists()


async def test_a_file_that_is_held_in_parts_is_completed(tmp_path):
    async with world(tmp_path) as nodes:
        root, a = await couple(nodes)
        content = os.urandom(BIG)
        path = await root.contributions.post(content)
        await eventually(lambda: same(root, a) and number_of_entries(a) == 1)
        _, where = await a.contributions.get(path)
        blocks = sorted((tmp_path / "a" / "repo" / "blocks").glob("*/*"))
        assert len(blocks) == 3
        blocks[1].unlink()
        where.unlink()
        await a.contributions.get(path)
        assert where.read_bytes() == content


@pytest.mark.parametrize(
    "keep", [lambda n: n % 2, lambda n: n < 15, lambda n: n > 15, lambda n: n in {3, 4, 9}]
)
async def test_a_large_file_of_which_some_is_here_is_written_out_whole(tmp_path, keep):
    """More blocks than the reader is handed in memory, and some that only the disk has."""
    async with world(tmp_path) as nodes:
        root, a = await couple(nodes)
        content = os.urandom(20 * 1024 * 1024 + 5)
        path = await root.contributions.post(content)
        await eventually(lambda: same(root, a) and number_of_entries(a) == 1)
        _, where = await a.contributions.get(path)
        assert where.read_bytes() == content
        where.unlink()
        names = [CID.of(content[at : at + MIB]).digest.hex() for at in range(0, len(content), MIB)]
        for number, name in enumerate(names):
            place = tmp_path / "a" / "repo" / "blocks" / name[-2:] / name
            if place.exists() and not keep(number):  # the last is small, and so a row
                place.unlink()
        await a.contributions.get(path)
        assert where.read_bytes() == content


async def test_a_file_of_the_same_block_again_and_again_comes_whole(tmp_path):
    async with world(tmp_path) as nodes:
        root, a = await couple(nodes)
        content = bytes(20 * MIB) + b"end" + bytes(10 * MIB)
        path = await root.contributions.post(content)
        await eventually(lambda: same(root, a) and number_of_entries(a) == 1)
        _, where = await a.contributions.get(path)
        assert where.read_bytes() == content


async def test_a_damaged_block_is_named_and_fetched_again_and_the_rest_is_served(tmp_path):
    async with world(tmp_path) as nodes:
        root, a = await couple(nodes)
        content = os.urandom(BIG)
        path = await root.contributions.post(content)
        other = await root.contributions.post(b"another")
        await eventually(lambda: same(root, a) and number_of_entries(a) == 2)
        _, where = await a.contributions.get(path)
        where.unlink()
        damaged = min((tmp_path / "a" / "repo" / "blocks").glob("*/*"))
        damaged.write_bytes(bytes(damaged.stat().st_size))
        with structlog.testing.capture_logs() as logs:
            await a.contributions.get(path)
        assert where.read_bytes() == content
        (told,) = [entry["error"] for entry in logs if entry["log_level"] == "error"]
        assert "was damaged on the disk" in told
        assert (await a.contributions.get(other))[1].read_bytes() == b"another"


async def test_many_who_get_one_file_at_once_all_have_it(tmp_path):
    async with world(tmp_path) as nodes:
        root, a = await couple(nodes)
        content = os.urandom(BIG)
        path = await root.contributions.post(content)
        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(a.contributions.get, path)
        (where,) = (tmp_path / "a" / "downloads").iterdir()
        assert where.read_bytes() == content


async def test_a_full_replica_keeps_the_files_of_all_contributions(tmp_path):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        before = [await root.contributions.post(bytes([n]) * 50_000) for n in range(5)]
        replica = await nodes.start("replica", bootstrap=(address(root),), full_replica=True)
        after = [await root.contributions.post(bytes([100 + n]) * 50_000) for n in range(5)]

        async def all_kept():
            return await pins(replica) == {"wanted": 0, "pinned": 10}

        await eventually(all_kept)
        await nodes.stop("root")
        for path in before + after:
            assert (await replica.contributions.get(path))[1].stat().st_size == 50_000


async def test_a_wanted_file_that_nobody_has_now_is_wanted_after_a_restart_and_comes_with_its_holder(
    tmp_path,
):
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        holder = await nodes.start("holder", bootstrap=(address(root),))
        await eventually(lambda: same(root, holder))
        content = os.urandom(100_000)
        path = await holder.contributions.post(content)
        await eventually(lambda: same(root, holder) and number_of_entries(root) == 1)
        await nodes.stop("holder")

        replica = await nodes.start("replica", bootstrap=(address(root),), full_replica=True)
        await eventually(lambda: same(root, replica))
        table = Pins(replica._repo.database)

        async def tried():
            return [attempts for _, attempts in await table.due(2**40, 10)] >= [1]

        await eventually(tried)
        assert await pins(replica) == {"wanted": 1, "pinned": 0}
        await nodes.stop("replica")
        replica = await nodes.start("replica", bootstrap=(address(root),), full_replica=True)
        assert await pins(replica) == {"wanted": 1, "pinned": 0}

        await nodes.start("holder", bootstrap=(address(root),))

        async def kept():
            return await pins(replica) == {"wanted": 0, "pinned": 1}

        await eventually(kept)
        assert (await replica.contributions.get(path))[1].read_bytes() == content


async def test_the_contributor_is_dialled_where_nobody_connected_has_the_file(tmp_path):
    async with world(tmp_path) as nodes:
        root, a = await couple(nodes)
        b = await nodes.start("b", bootstrap=(address(root),))
        await eventually(lambda: same(root, a, b) and b.membership.record(a.host.peer_id) is not None)
        path = await a.contributions.post(b"held by its contributor alone")
        await eventually(lambda: same(root, a, b) and number_of_entries(b) == 1)
        await b.host.disconnect(a.host.peer_id)
        assert (await b.contributions.get(path))[1].read_bytes() == b"held by its contributor alone"


async def test_a_download_goes_where_no_directory_stands_in_its_way(tmp_path):
    from peersdb.errors import StorageError

    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        path = await root.contributions.post(b"content")
        target = tmp_path / "root" / "downloads" / path.removeprefix("/ipfs/")
        target.mkdir(parents=True)
        with pytest.raises(StorageError, match="is a directory"):
            await root.contributions.get(path)
        target.rmdir()
        assert (await root.contributions.get(path))[1].read_bytes() == b"content"


async def test_a_new_file_goes_the_way_that_the_word_of_it_went(tmp_path, monkeypatch):
    monkeypatch.setattr("peersdb.service.members.TARGET", 0)  # nobody dials but its bootstrap peers
    monkeypatch.setattr("peersdb.service.members.EXPLORE", 1e6)
    monkeypatch.setattr(
        "peersdb.service.contributions.SPREAD", 3.0
    )  # and half a second passes before it is fetched
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        middle, far = await nodes.start("middle", full_replica=True), await nodes.start("far")
        await middle.host.dial(address(root))
        await far.host.dial(address(middle))
        await eventually(lambda: same(root, middle, far))
        content = os.urandom(1000)
        path = await root.contributions.post(content)
        await eventually(lambda: number_of_entries(far) == 1)
        assert await pins(middle) == {"wanted": 1, "pinned": 0}
        _, where = await far.contributions.get(path)
        assert where.read_bytes() == content
        assert far.host.connected == [middle.host.peer_id]


async def test_who_takes_no_files_lets_nobody_wait_for_one(tmp_path, monkeypatch):
    monkeypatch.setattr("peersdb.service.members.TARGET", 0)
    monkeypatch.setattr("peersdb.service.members.EXPLORE", 1e6)
    monkeypatch.setattr("peersdb.service.files.HOLD", 3600.0)
    async with world(tmp_path) as nodes:
        root = await nodes.start("root", root=True)
        middle, far = await nodes.start("middle"), await nodes.start("far")
        await middle.host.dial(address(root))
        await far.host.dial(address(middle))
        await eventually(lambda: same(root, middle, far) and far.membership.count == 2)
        path = await root.contributions.post(b"content")
        await eventually(lambda: number_of_entries(far) == 1)
        _, where = await far.contributions.get(path)
        assert where.read_bytes() == b"content"
        assert root.host.peer_id in far.host.connected
