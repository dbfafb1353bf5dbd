"""A file is written out while it comes: whole and synced or not at all, in the reader's order, in little memory."""

import os
import random
import subprocess

import pytest
import trio

from peersdb.core.cid import CID, Block
from peersdb.errors import DiskFull, NotFound, StorageError
from peersdb.service import output as module
from peersdb.service.output import MAX_COMING, SYNC_BYTES, WRITE_BYTES, WRITE_PIECES, Coming, Signal, written

MIB = 1024 * 1024


def block(number):
    data = number.to_bytes(4)
    return Block(CID.of(data), data)


async def write(target, pieces):
    async with written(target, target.with_name("part")) as output:
        for piece in pieces:
            await output.write(piece)
    return output.size


@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [0],
        [1],
        [1] * (3 * WRITE_PIECES + 1),
        [MIB] * 7,
        [WRITE_BYTES + 1, 0, 5],
        [3 * MIB + 1] * (SYNC_BYTES // MIB),  # three steps of syncing
    ],
)
async def test_what_is_written_is_there_under_its_name_alone(tmp_path, sizes):
    pieces = [random.Random(size).randbytes(size) for size in sizes]
    target = tmp_path / "new" / "file"
    assert await write(target, pieces) == sum(sizes)
    assert target.read_bytes() == b"".join(pieces)
    assert list(target.parent.iterdir()) == [target]


async def test_a_file_that_was_there_stays_as_it_was_when_the_new_one_fails(tmp_path):
    target = tmp_path / "file"
    target.write_bytes(b"old")

    def pieces():
        yield bytes(SYNC_BYTES)
        raise NotFound("gone")

    with pytest.raises(NotFound, match="gone"):  # as it is: not in a group, not as an error of the disk
        await write(target, pieces())
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


async def test_a_writer_that_is_cancelled_leaves_nothing(tmp_path):
    with trio.CancelScope() as scope:
        async with written(tmp_path / "file", tmp_path / "part") as output:
            await output.write(bytes(SYNC_BYTES))
            scope.cancel()
            await trio.sleep_forever()
    assert list(tmp_path.iterdir()) == []


async def test_an_error_of_a_sync_in_between_is_the_file_s(tmp_path, monkeypatch):
    """The disk tells of what it could not write when it is synced, which may be long after it was taken."""

    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fdatasync", full)
    with trio.fail_after(10), pytest.raises(DiskFull):
        await write(tmp_path / "file", (bytes(WRITE_BYTES) for _ in range(100)))
    assert list(tmp_path.iterdir()) == []


async def test_a_full_disk_is_told_and_nothing_is_left_on_it(tmp_path):
    made = subprocess.run(  # noqa: ASYNC221
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("mounting a small file system is not allowed here")
    try:
        with pytest.raises(DiskFull, match="free some"):
            await write(tmp_path / "file", [bytes(MIB)] * 8)
        assert list(tmp_path.iterdir()) == []
        assert await write(tmp_path / "file", [bytes(MIB)] * 4) == 4 * MIB
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)  # noqa: ASYNC221


async def test_a_directory_in_the_way_is_told(tmp_path):
    with pytest.raises(StorageError, match="is a directory"):
        await write(tmp_path, [b"x"])


async def follow(coming, disk, wanted, pace):
    """Reads as `Files.read` does, from what comes and from the disk."""
    for made in wanted:
        await trio.sleep(pace())
        while (data := coming.take(made.cid)) is None:
            await trio.sleep(pace())
            data = disk.get(made.cid)
            if data is None:
                data = coming.take(made.cid)
            if data is not None:
                break
            assert await coming.more()
        assert data == made.data
    coming.leave()


@pytest.mark.parametrize("seed", range(200))
async def test_a_reader_gets_every_block_whatever_is_here_and_whoever_is_slow(autojump_clock, seed):
    """Slow reader, slow fetch, blocks that are here already, blocks in another order: nobody waits for ever."""
    numbers = random.Random(seed)
    wanted = [block(number) for number in range(numbers.randint(1, 60))]
    here = {made.cid: made.data for made in wanted if numbers.random() < numbers.choice([0, 0.5, 0.9])}
    coming_order = [made for made in wanted if made.cid not in here]
    if seed % 3 == 0:
        numbers.shuffle(coming_order)
    stored, most = Signal(), 0
    coming = Coming(stored, 1000.0)
    slow_reader, slow_fetch = numbers.choice([0, 0.1, 3]), numbers.choice([0, 0.1, 3])

    async def fetch():
        nonlocal most
        for at in range(0, len(coming_order), 4):
            batch = coming_order[at : at + 4]
            await trio.sleep(numbers.random() * slow_fetch)
            await coming.put(batch)
            most = max(most, len(coming._blocks))
            await trio.sleep(numbers.random() * slow_fetch)  # the disk
            here.update({made.cid: made.data for made in batch})
            stored.notify()
        coming.end()

    with trio.fail_after(10_000):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetch)
            await follow(coming, here, wanted, lambda: numbers.random() * slow_reader)
    assert most <= MAX_COMING


async def test_a_fetch_waits_for_a_reader_that_follows_it(autojump_clock):
    """Else what came would have to be read from the disk and hashed once more."""
    stored = Signal()
    coming = Coming(stored, 10.0)
    blocks = [block(number) for number in range(5 * MAX_COMING)]
    async with trio.open_nursery() as nursery:

        async def fetch():
            for at in range(0, len(blocks), 4):
                await coming.put(blocks[at : at + 4])

        nursery.start_soon(fetch)
        await follow(coming, {}, blocks, lambda: 1)


async def test_a_fetch_does_not_wait_for_a_reader_that_takes_nothing(autojump_clock):
    """It reads what was here before, for minutes: meanwhile the peer must not be kept waiting."""
    coming = Coming(Signal(), 10.0)
    blocks = [block(number) for number in range(5 * MAX_COMING)]
    with trio.fail_after(1):
        await coming.put(blocks[:1])
        assert coming.take(blocks[0].cid)
        assert coming.take(block(1000).cid) is None
        await coming.put(blocks)
    assert [coming.take(made.cid) for made in blocks[-MAX_COMING:]] == [
        made.data for made in blocks[-MAX_COMING:]
    ]


async def test_a_reader_waits_as_long_as_it_has_patience(autojump_clock):
    coming = Coming(Signal(), 10.0)
    begin = trio.current_time()
    with pytest.raises(NotFound, match="nothing came for 10 s"):
        await coming.more()
    assert trio.current_time() - begin == pytest.approx(10.0)


async def test_after_the_end_of_a_fetch_the_reader_looks_once_more():
    coming = Coming(Signal(), 10.0)
    coming.end()
    assert [await coming.more(), await coming.more()] == [True, False]


def test_memory_is_bounded_by_the_limits():
    assert MAX_COMING * 2 * MIB + WRITE_BYTES <= 32 * MIB
    assert os.sysconf("SC_IOV_MAX") >= WRITE_PIECES
