"""kill -9 at any moment: what was acknowledged is there, and nothing is half there."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from store_helpers import SIGNERS, opened

from peersdb.core.cid import CID
from peersdb.core.entry import check_signature, decode_entry
from peersdb.core.reconcile import EMPTY
from peersdb.store.log import LogStore

HERE = Path(__file__).parent
#: So often a writer is killed, each time at a later moment.
ROUNDS = [5, pytest.param(30, marks=pytest.mark.slow)]

# Four writers at once; each acknowledged entry and block is said on a line of its own.
WRITER = """
import sys
import trio
from pathlib import Path
from store_helpers import MANIFEST, SIGNERS, block, opened, payload
from peersdb.store import opening, repair
from peersdb.store.blocks import insert_rows
from peersdb.store.log import LogStore

async def main(repo):
    store = LogStore(repo.database)
    await store.create(MANIFEST)

    async def write(task):
        for turn in range(100_000):
            small, large = block(500, task), block(20_000, task)
            await repo.blocks.put([large], durable=True)
            entry, _ = await store.append(
                SIGNERS[0],
                payload(SIGNERS[0], turn),
                lambda conn, _: insert_rows(conn, [small]),
            )
            print(entry.hash, small.cid, large.cid, flush=True)

    async def rebuild():
        path, own = repo.database.path, SIGNERS[0].identity
        while True:
            at = repair.free_stamp(path)
            await repo.database.replace(
                lambda file: opening.make(path, file, own, stopped=lambda: False, reason="a test", at=at),
                lambda: repair.swap(path, at),
            )
            await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        for task in range(4):
            nursery.start_soon(write, task)
        if "rebuild" in sys.argv:
            nursery.start_soon(rebuild)

with opened(Path(sys.argv[1])) as repo:
    trio.run(main, repo)
"""


@pytest.mark.processes
@pytest.mark.parametrize("rounds", ROUNDS)
async def test_nothing_acknowledged_is_lost_by_kill_9_at_any_moment(tmp_path, rounds):
    repo_dir = tmp_path / "repo"
    acknowledged = []
    for round_ in range(rounds):
        acknowledged += killed(repo_dir, after=round_ * 60 // rounds)
        await check(repo_dir, acknowledged)
        assert not list(repo_dir.glob("*.damaged-*"))  # a kill is no damage
    assert len(acknowledged) > rounds


@pytest.mark.processes
@pytest.mark.parametrize("rounds", ROUNDS)
async def test_nothing_acknowledged_is_lost_by_kill_9_while_the_database_is_rebuilt_again_and_again(
    tmp_path, rounds
):
    repo_dir = tmp_path / "repo"
    acknowledged = []
    for round_ in range(rounds):
        acknowledged += killed(repo_dir, "rebuild", after=20, seconds=round_ * 0.14 / rounds)
        await check(repo_dir, acknowledged)
        assert not list(repo_dir.glob("*.rebuil*"))
    assert len(list(repo_dir.glob("*.damaged-*"))) >= 3


def killed(repo_dir, *how, after, seconds=0.0):
    """What a writer said that was killed so long after so many lines."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(repo_dir), *how], cwd=HERE, stdout=subprocess.PIPE, text=True
    ) as child:
        lines = []
        while len(lines) <= after:
            line = child.stdout.readline()
            assert line, "the writer ended by itself"
            lines.append(line)
        time.sleep(seconds)
        child.kill()
        lines += child.stdout.read().splitlines(keepends=True)
    return [line.split() for line in lines if line.endswith("\n")]


async def check(repo_dir, acknowledged):
    with opened(repo_dir) as repo:
        store = LogStore(repo.database)
        assert await store.known([line[0] for line in acknowledged]) == {line[0] for line in acknowledged}
        for _, *blocks in acknowledged[-40:]:
            for cid in blocks:
                assert await repo.blocks.get(CID.parse(cid)) is not None
        ids = await store.gap_ids([(SIGNERS[0].key_hex, 0, 1, 2**53)])
        data, _ = await store.entries(ids)
        entries, fingerprint, parents = [decode_entry(block) for block in data], EMPTY, set()
        for entry in entries:
            fingerprint = fingerprint.add(entry.hash)
            parents |= set(entry.next)
        for entry in entries[-20:]:
            check_signature(entry)
        assert (await store.state()).fingerprint == fingerprint
        assert set(await store.heads()) == {entry.hash for entry in entries} - parents
        assert [entry.contribution.seq for entry in entries] == list(range(1, len(entries) + 1))
        assert not list((repo_dir / "blocks").glob("*/*.tmp"))
