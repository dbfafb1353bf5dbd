"""Blocks: rows and files, durable where asked, checked at every read."""

import os
import subprocess
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_helpers import block, opened

from peersdb.core.cid import CID, DAG_PB, RAW, Block
from peersdb.errors import CorruptData, DiskFull
from peersdb.store.blocks import MAX_ROW, BlockStore


@pytest.fixture
def repo(tmp_path):
    with opened(tmp_path / "repo") as made:
        yield made


def files(repo):
    return sorted(path for path in (repo.path / "blocks").glob("*/*") if path.is_file())


async def rows(repo):
    return await repo.database.read(lambda conn: conn.execute("SELECT count(*) FROM blocks").fetchone()[0])


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize(
    ("size", "in_file"), [(8, False), (MAX_ROW, False), (MAX_ROW + 1, True), (1 << 20, True)]
)
async def test_a_block_above_16_kib_is_a_file_and_comes_back(repo, size, in_file, durable):
    made = block(size)
    await repo.blocks.put([made], durable=durable)
    assert await repo.blocks.get(made.cid) == made.data
    assert [len(files(repo)), await rows(repo)] == ([1, 0] if in_file else [0, 1])
    assert await repo.blocks.missing([made.cid]) == []


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(8, 2 * MAX_ROW), max_size=6), st.booleans())
async def test_what_was_put_is_there_and_what_was_not_is_missing(repo, sizes, durable):
    put = [block(size, salt) for salt, size in enumerate(sizes)]
    other = [block(100).cid, block(MAX_ROW + 1).cid]
    await repo.blocks.put(put, durable=durable)
    asked = [made.cid for made in put] + other
    assert await repo.blocks.missing(asked * 2) == other
    assert [await repo.blocks.get(cid) for cid in asked] == [made.data for made in put] + [None, None]


@pytest.mark.parametrize("size", [100, MAX_ROW + 1])
async def test_cidv0_and_cidv1_of_the_same_bytes_are_one_block(repo, size):
    data = os.urandom(size)
    old, new, raw = CID.of(data, DAG_PB, 0), CID.of(data, DAG_PB, 1), CID.of(data, RAW)
    await repo.blocks.put([Block(old, data)], durable=False)
    await repo.blocks.put([Block(new, data)], durable=False)
    assert await repo.blocks.missing([old, new, raw]) == []
    assert [await repo.blocks.get(cid) for cid in (old, new, raw)] == [data] * 3
    assert len(files(repo)) + await rows(repo) == 1


@pytest.mark.parametrize("damage", ["bit", "cut", "empty"])
async def test_a_damaged_file_is_named_removed_and_can_be_put_again(repo, damage):
    made = block(MAX_ROW * 2)
    await repo.blocks.put([made], durable=True)
    (path,) = files(repo)
    data = bytearray(made.data)
    data[5] ^= 1
    path.write_bytes({"bit": bytes(data), "cut": made.data[:-1], "empty": b""}[damage])
    with pytest.raises(CorruptData, match=str(made.cid)):
        await repo.blocks.get(made.cid)
    assert await repo.blocks.get(made.cid) is None
    assert await repo.blocks.missing([made.cid]) == [made.cid]
    await repo.blocks.put([made], durable=True)
    assert await repo.blocks.get(made.cid) == made.data


async def test_a_damaged_row_is_named_removed_and_can_be_put_again(repo):
    made = block(100)
    await repo.blocks.put([made], durable=True)
    await repo.database.write(lambda conn: conn.execute("UPDATE blocks SET data = x'00'"), durable=True)
    with pytest.raises(CorruptData, match=str(made.cid)):
        await repo.blocks.get(made.cid)
    assert await repo.blocks.get(made.cid) is None
    await repo.blocks.put([made], durable=True)
    assert await repo.blocks.get(made.cid) == made.data


async def test_a_file_that_a_crash_left_short_is_written_again(repo):
    made = block(MAX_ROW * 2)
    await repo.blocks.put([made], durable=False)
    files(repo)[0].write_bytes(b"")  # as after a power cut: the name came to the disk, the bytes did not
    await repo.blocks.put([made], durable=True)
    assert await repo.blocks.get(made.cid) == made.data


async def test_many_who_put_the_same_block_at_once_leave_one_whole_file(repo):
    made = block(1 << 20)
    async with trio.open_nursery() as nursery:
        for _ in range(12):
            nursery.start_soon(lambda: repo.blocks.put([made], durable=True))
    assert [path.stat().st_size for path in files(repo)] == [1 << 20]
    assert await repo.blocks.get(made.cid) == made.data


async def test_what_a_crash_left_under_temporary_names_is_cleared(repo):
    made = block(MAX_ROW * 2)
    await repo.blocks.put([made], durable=True)
    (path,) = files(repo)
    left = path.with_name(path.name + ".7.tmp")
    left.write_bytes(b"half")
    again = BlockStore(repo.database, repo.path / "blocks")
    assert files(repo) == [path]
    assert await again.get(made.cid) == made.data


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 1 MiB; only root may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("mounting a small file system is not allowed here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


async def test_a_full_disk_refuses_a_file_keeps_what_it_has_and_works_again(repo, tiny_disk: Path):
    store = BlockStore(repo.database, tiny_disk / "blocks")
    first, second = block(600_000), block(600_000, 1)
    await store.put([first], durable=True)
    with pytest.raises(DiskFull, match="free some"):
        await store.put([second], durable=True)
    assert await store.get(first.cid) == first.data
    assert await store.get(second.cid) is None
    assert [path.stat().st_size for path in (tiny_disk / "blocks").glob("*/*")] == [
        600_000
    ]  # nothing half-written
    for path in (tiny_disk / "blocks").glob("*/*"):
        path.unlink()
    await store.put([second], durable=True)
    assert await store.get(second.cid) == second.data


async def test_a_repo_on_a_full_disk_refuses_keeps_what_it_has_and_works_again(tiny_disk: Path):
    with opened(tiny_disk / "repo") as repo:
        kept = []
        with pytest.raises(DiskFull):  # noqa: PT012 - one of them meets the end of the disk
            for salt in range(200):
                made = block(10_000, salt)
                await repo.blocks.put([made], durable=True)
                kept.append(made)
        assert kept
        for made in kept:
            assert await repo.blocks.get(made.cid) == made.data
        subprocess.run(["mount", "-o", "remount,size=8m", str(tiny_disk)], check=True)  # noqa: ASYNC221
        await repo.blocks.put([made := block(10_000, 999)], durable=True)
        assert await repo.blocks.get(made.cid) == made.data
    with opened(tiny_disk / "repo") as repo:
        assert await repo.blocks.missing([made.cid for made in kept]) == []
