"""A damaged database heals: what can be read is kept, the rest comes from peers, and what nobody has is named."""

import json
import os
import random
import sqlite3
from contextlib import closing

import pytest
import trio
from service_helpers import PATIENCE, address, eventually, number_of_entries, world
from structlog.testing import capture_logs

from peersdb.core.ballots import VERDICTS, Vote
from peersdb.core.cid import CID, ipfs_path
from peersdb.errors import CorruptData
from peersdb.service import healing
from peersdb.store import repair
from peersdb.store.pages import PAGE, Pages, Source
from peersdb.store.schema import SCHEMA

POSTS = 60


def database(path, name):
    return path / name / "repo" / "peersdb.sqlite"


def pages_of(file):
    data = file.read_bytes()
    return Pages(Source(lambda start, size: data[start : start + size], len(data)))


def leaves(file, columns):
    """The pages with rows of so many columns."""
    pages = pages_of(file)
    return [n for n in range(1, pages.count + 1) if any(len(r.values) == columns for r in pages.records(n))]


def root_of(name):
    with sqlite3.connect(":memory:") as conn:
        conn.executescript(SCHEMA)
        return conn.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).fetchone()[0]


def overwrite(file, number, data=None, at=0):
    with file.open("r+b") as opened:
        opened.seek((number - 1) * PAGE + at)
        opened.write(os.urandom(PAGE) if data is None else data)


def flip(file, text):
    """Changes one byte of a text wherever it lies, as a bad cell of a disk does."""
    data = bytearray(file.read_bytes())
    at, count = -1, 0
    while (at := data.find(text, at + 1)) >= 0:
        data[at + len(text) // 2] ^= 0x01
        count += 1
    assert count
    file.write_bytes(data)


async def post_some(node, count, start=0, salt=b""):
    for number in range(start, start + count):
        await node.contributions.post(salt + b"content %d " % number * 20, f"file {number}")


async def rows(node):
    found, cursor = await node.contributions.page()
    while cursor is not None:
        more, cursor = await node.contributions.page(cursor)
        found += more
    return found


async def damage_state(node):
    status = (await node.status())["damage"]
    return status and status["state"]


async def two_with_the_same(made):
    """Two nodes that wrote half of the log each."""
    a = await made.start("a", root=True)
    b = await made.start("b", bootstrap=(address(a),), full_replica=True)
    await post_some(a, POSTS // 2)
    await eventually(lambda: number_of_entries(b) == POSTS // 2)
    await post_some(b, POSTS // 2, POSTS // 2)
    await eventually(lambda: number_of_entries(a) == POSTS)
    await eventually(lambda: _is(_pinned, b, POSTS))  # and b has the files of all
    return a, b


def value_of(file, column):
    """A column of the first entry on the fourth of their pages, as bytes."""
    record = next(iter(pages_of(file).records(leaves(file, 13)[3])))
    value = record.values[column]
    return value if isinstance(value, bytes) else value.encode()


def noise(seed):
    """Thirty bytes are other ones at a dozen places."""
    chance = random.Random(seed)

    def hit(file):
        for _ in range(12):
            overwrite(file, chance.randrange(1, 40), chance.randbytes(30), chance.randrange(PAGE - 30))

    return hit


DAMAGE = {
    "an entries leaf": lambda file: overwrite(file, leaves(file, 13)[4]),
    "every second entries leaf": lambda file: [overwrite(file, n) for n in leaves(file, 13)[::2]],
    "the root of the entries": lambda file: overwrite(file, root_of("entries")),
    "an index": lambda file: overwrite(file, root_of("entries_order")),
    "the first page": lambda file: overwrite(file, 1),
    "bytes of the first page": lambda file: overwrite(file, 1, os.urandom(40), 60),
    "the schema's text": lambda file: flip(file, b"synced INTEGER NOT NULL"),
    "the log's row": lambda file: overwrite(file, root_of("log")),
    "the log's address": lambda file: flip(file, b"/orbitdb/zdpu"),
    "the identities": lambda file: overwrite(file, root_of("identities")),
    "the heads": lambda file: overwrite(file, root_of("heads"), at=PAGE - 100, data=os.urandom(100)),
    "the version vector": lambda file: overwrite(file, root_of("writers")),
    "the members": lambda file: overwrite(file, root_of("members"), at=PAGE - 60, data=os.urandom(60)),
    "a path inside a row": lambda file: flip(file, value_of(file, 6)),
    "bytes inside an entry": lambda file: flip(file, value_of(file, 12)[300:340]),
    "the pins' count": lambda file: overwrite(file, root_of("pin_counts")),
    "half of the file": lambda file: os.truncate(file, file.stat().st_size // PAGE // 2 * PAGE),
    **{f"noise {seed}": noise(seed) for seed in range(8)},
}  # fmt: skip
#: More of the same.
SLOW = {f"noise {seed}" for seed in range(2, 8)}


@pytest.mark.parametrize(
    "how", [pytest.param(how, marks=[pytest.mark.slow] if how in SLOW else []) for how in DAMAGE]
)
async def test_a_damaged_database_has_everything_again_from_its_peer(tmp_path, how):
    async with world(tmp_path) as made:
        a, b = await two_with_the_same(made)
        expected = await rows(a)
        await made.stop("a")
        file = database(tmp_path, "a")
        before = file.read_bytes()
        DAMAGE[how](file)
        damaged = file.read_bytes()
        assert damaged != before
        with capture_logs() as lines:
            a = await made.start("a", root=True, bootstrap=(address(b),))
            await eventually(lambda: damage_state(a))
            await eventually(lambda: _is(damage_state, a, "healed"))
        assert await rows(a) == expected
        assert a.replication.state_fingerprint == b.replication.state_fingerprint
        status = (await a.status())["damage"]
        assert (status["missing"], status["lost"], status["lostFiles"]) == (0, [], [])
        assert status["damaged"] or status["reason"]
        kept = file.with_name(status["kept"])
        assert kept.read_bytes()[:PAGE] == damaged[:PAGE]
        assert any("was rebuilt" in line["event"] for line in lines)
        # All works on: both write, and find each other's.
        await a.contributions.post(b"after the damage")
        await b.contributions.post(b"after the damage, from b")
        await eventually(lambda: number_of_entries(a) == number_of_entries(b) == POSTS + 2)
        assert a.replication.state_fingerprint == b.replication.state_fingerprint
        await made.stop("a", "b")
        for name in ("a", "b"):
            with sqlite3.connect(database(tmp_path, name)) as conn:
                assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                # One number of a chain for each entry: no fork.
                assert conn.execute(
                    "SELECT count(*), count(DISTINCT key || '-' || epoch || '-' || seq) FROM entries"
                ).fetchone() == (POSTS + 2, POSTS + 2)
                assert not conn.execute(
                    "SELECT 1 FROM entries WHERE identity NOT IN (SELECT digest FROM identities)"
                ).fetchone()
                assert conn.execute("SELECT count(*) FROM heads").fetchone()[0] <= 2


async def _is(look, node, value):
    return await look(node) == value


async def test_damage_is_noticed_by_who_reads_and_healed_while_the_node_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(healing, "FIRST_SCRUB", 10_000.0)
    async with world(tmp_path) as made:
        a, b = await two_with_the_same(made)
        await made.stop("a")
        file = database(tmp_path, "a")
        overwrite(file, leaves(file, 13)[4])
        a = await made.start("a", root=True, bootstrap=(address(b),))
        with pytest.raises(CorruptData, match="the node rebuilds it"):
            await rows(a)
        await eventually(lambda: _is(damage_state, a, "healed"))
        assert len(await rows(a)) == POSTS


async def test_reading_and_writing_go_on_while_a_running_node_heals(tmp_path, monkeypatch):
    """Nothing that is asked meanwhile fails but for what meets the damage itself; nothing that is posted is lost."""
    monkeypatch.setattr(healing, "FIRST_SCRUB", 5.0)
    async with world(tmp_path) as made:
        a, b = await two_with_the_same(made)
        await made.stop("a")
        file = database(tmp_path, "a")
        overwrite(file, leaves(file, 13)[6])
        a = await made.start("a", root=True, bootstrap=(address(b),))
        posted = 0
        with trio.fail_after(PATIENCE):
            while await damage_state(a) != "healed":
                await a.contributions.post(b"meanwhile %d" % posted)
                posted += 1
                await a.contributions.known_paths("", 1)
                await trio.sleep(0.01)
        assert posted > 3
        await eventually(lambda: number_of_entries(b) == POSTS + posted)
        assert a.replication.state_fingerprint == b.replication.state_fingerprint
        assert len(await rows(a)) == POSTS + posted


async def test_own_posts_that_nobody_else_has_are_named_as_lost_and_the_chain_goes_on(tmp_path):
    async with world(tmp_path) as made:
        a = await made.start("a", root=True)
        await post_some(a, POSTS)
        expected = await rows(a)
        await made.stop("a")
        file = database(tmp_path, "a")
        number = leaves(file, 13)[-1]
        on_it = {record.values[6] for record in pages_of(file).records(number)}
        overwrite(file, number)
        with capture_logs() as lines:
            a = await made.start("a", root=True)
            await eventually(lambda: damage_state(a))
            await trio.sleep(0.5)
            assert await damage_state(a) == "fetching"  # nobody could be asked yet
            await a.contributions.post(b"written before anybody came")
            b = await made.start("b", bootstrap=(address(a),))
            await eventually(lambda: _is(damage_state, a, "lost"))
        assert {row.path for row in await rows(a)} >= {row.path for row in expected} - on_it
        status = (await a.status())["damage"]
        assert set(status["lost"]) == on_it
        (line,) = [line for line in lines if line["event"].startswith("own posts are lost")]
        assert (set(line["entries"]), line["log_level"]) == (on_it, "error")
        await eventually(lambda: number_of_entries(b) == number_of_entries(a) == POSTS - len(on_it) + 1)
        with sqlite3.connect(file) as conn:  # a number that was lost is not given again
            assert conn.execute("SELECT max(epoch) FROM entries").fetchone() == (1,)
        await made.stop("a")
        a = await made.start("a", root=True)
        assert await damage_state(a) == "lost"  # as it was before the restart


async def test_lost_blocks_of_own_files_come_from_a_peer_or_are_named(tmp_path):
    async with world(tmp_path) as made:
        a = await made.start("a", root=True)
        b = await made.start("b", bootstrap=(address(a),), full_replica=True)
        await post_some(a, 40, salt=b"x" * 900)
        await eventually(lambda: _is(_pinned, b, 40))
        await made.stop("b")
        await post_some(a, 40, 40, salt=b"y" * 900)
        await made.stop("a")
        file = database(tmp_path, "a")
        for number in leaves(file, 2)[1::2]:
            if any(
                len(r.values) == 2 and isinstance(r.values[1], bytes) for r in pages_of(file).records(number)
            ):
                overwrite(file, number)
        a = await made.start("a", root=True)
        b = await made.start("b", bootstrap=(address(a),), full_replica=False)
        await eventually(lambda: _is(damage_state, a, "lost"))
        status = (await a.status())["damage"]
        assert status["lost"] == []
        old = {row.path for row in (await rows(a))[:40]}
        assert status["lostFiles"]
        assert not old & set(status["lostFiles"])  # those b had
        for path in old:
            await a.contributions.get(path)


async def _pinned(node):
    return (await node.status())["pins"]["pinned"]


async def test_a_full_replica_fetches_again_what_it_lost_of_its_files(tmp_path):
    async with world(tmp_path) as made:
        a = await made.start("a", root=True)
        b = await made.start("b", bootstrap=(address(a),), full_replica=True)
        await post_some(a, 40, salt=b"x" * 900)
        await eventually(lambda: _is(_pinned, b, 40))
        await made.stop("b")
        file = database(tmp_path, "b")
        for number in leaves(file, 2)[1::2]:
            overwrite(file, number)
        b = await made.start("b", bootstrap=(address(a),), full_replica=True)
        await eventually(lambda: _is(damage_state, b, "healed"))
        await eventually(lambda: _is(_pinned, b, 40))
        await made.stop("a")
        for row in await rows(b):
            await b.contributions.get(row.path)


async def test_a_disk_that_fails_again_and_again_is_given_up_on_and_the_node_serves(tmp_path, monkeypatch):
    monkeypatch.setattr(healing, "MAX_REBUILDS", 0)
    async with world(tmp_path) as made:
        a = await made.start("a", root=True)
        await post_some(a, POSTS)
        await made.stop("a")
        file = database(tmp_path, "a")
        overwrite(file, leaves(file, 13)[4])
        with capture_logs() as lines:
            a = await made.start("a", root=True)
            await eventually(lambda: any("again and again" in line["event"] for line in lines))
        assert await damage_state(a) is None
        await a.contributions.post(b"it still works, as far as it can")
        assert not list(file.parent.glob("*.damaged-*"))


async def test_a_look_that_is_cancelled_at_any_moment_ends_soon(tmp_path):
    async with world(tmp_path) as made:
        a = await made.start("a", root=True)
        await post_some(a, POSTS)
        for number in range(20):
            with trio.fail_after(5), trio.move_on_after(number / 5000):  # the first before it begins
                await a._healing._sound()


async def test_looks_at_everything_while_entries_come_and_go_out_find_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(healing, "FIRST_SCRUB", 0.0)
    monkeypatch.setattr(healing, "SCRUB", 0.0)
    looks, sound = [], repair.sound

    def counted(*args):
        looks.append(args)
        return sound(*args)

    monkeypatch.setattr(repair, "sound", counted)
    async with world(tmp_path) as made:
        a, b = await two_with_the_same(made)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(post_some, a, POSTS, POSTS)
            nursery.start_soon(post_some, b, POSTS, 2 * POSTS)
        await eventually(lambda: number_of_entries(a) == number_of_entries(b) == 3 * POSTS)
        await eventually(lambda: len(looks) > 5)
        assert await damage_state(a) is await damage_state(b) is None


async def test_a_read_that_failed_once_is_looked_at_again_and_not_rebuilt(tmp_path):
    async with world(tmp_path) as made:
        a = await made.start("a", root=True)
        await post_some(a, POSTS)
        failed = [True]

        def job(conn):
            if failed.pop():
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorname = "SQLITE_IOERR_CORRUPTFS"
                raise error

        with capture_logs() as lines:
            with pytest.raises(CorruptData):
                await a._repo.database.read(job)
            await eventually(lambda: any("a second look found nothing" in line["event"] for line in lines))
        assert await damage_state(a) is None
        assert not list(database(tmp_path, "a").parent.glob("*.damaged-*"))


async def test_a_rebuild_without_space_is_tried_again_until_there_is_some(tmp_path, monkeypatch):
    monkeypatch.setattr(healing, "RETRY", 0.3)
    async with world(tmp_path) as made:
        a = await made.start("a", root=True)
        await post_some(a, POSTS)
        await made.stop("a")
        file = database(tmp_path, "a")
        number = leaves(file, 13)[4]
        on_it = sum(len(record.values) == 13 for record in pages_of(file).records(number))
        overwrite(file, number)
        rebuild, tries = repair.rebuild, []

        def full(*args):
            tries.append(args)
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(repair, "rebuild", full)
        a = await made.start("a", root=True)
        await eventually(lambda: len(tries) > healing.MAX_REBUILDS + 1)
        await a.contributions.post(b"written meanwhile")
        monkeypatch.setattr(repair, "rebuild", rebuild)
        await eventually(lambda: damage_state(a))
        assert len(await rows(a)) == POSTS - on_it + 1
        assert (await a.status())["entries"] == POSTS - on_it + 1


async def test_a_repo_that_was_never_damaged_says_so_and_a_wrong_note_of_one_is_no_error(tmp_path):
    async with world(tmp_path) as made:
        a = await made.start("a", root=True)
        await trio.sleep(0.5)
        assert await damage_state(a) is None
        await made.stop("a")
        note = tmp_path / "a" / "repo" / "damage.json"
        for text in ("", "[]", "{}", json.dumps({"lost": [], "damaged": [], "files": []}), "\xff"):
            note.write_text(text)
            a = await made.start("a", root=True)
            assert await damage_state(a) is None
            await made.stop("a")


async def test_a_node_that_ends_during_a_look_at_everything_ends_well(tmp_path, monkeypatch):
    monkeypatch.setattr(healing, "FIRST_SCRUB", 0.0)
    async with world(tmp_path) as made:
        a = await made.start("a", root=True)
        await post_some(a, POSTS)
        for number in range(12):
            await made.stop("a")
            await made.start("a", root=True)
            await trio.sleep(number / 400)


async def vote_on(node, numbers):
    for number in numbers:
        cid, verdict = CID.of(b"%d" % number), VERDICTS[number % 4]
        await node.votes.cast((Vote(cid, "csv/1", bytes(32), verdict),), wait=True)


async def votes_of(node):
    """Who says what of which of these files, as the tables have it; a full replica votes unasked on others."""
    paths = {ipfs_path(CID.of(b"%d" % number)) for number in range(POSTS)}
    found = await node._repo.database.read(
        lambda conn: sorted(
            conn.execute(
                "SELECT path, peer, verdict FROM votes, voted, voters"
                " WHERE file = voted.id AND voter = voters.id"
            )
        )
    )
    return [row for row in found if row[0] in paths]


async def test_a_node_that_is_damaged_while_it_runs_has_all_votes_again_and_votes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("peersdb.service.casting.GATHER", 0)
    monkeypatch.setattr(healing, "FIRST_SCRUB", 10_000.0)
    async with world(tmp_path) as made:
        a, b = await two_with_the_same(made)
        await vote_on(a, range(POSTS))
        await vote_on(b, range(POSTS // 2))
        await eventually(lambda: a.votes._fingerprint() == b.votes._fingerprint())
        expected = await votes_of(a)
        assert len(expected) == POSTS + POSTS // 2
        await a._repo.database.write(lambda _conn: None, durable=True)
        file = database(tmp_path, "a")
        with closing(sqlite3.connect(file)) as conn:  # all of the log goes into the file
            conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        ballots = [
            number
            for number in leaves(file, 5)
            if any(isinstance(record.values[4], bytes) for record in pages_of(file).records(number))
        ]
        for number in ballots[1::3]:
            overwrite(file, number)
        await a._healing._rebuild("a test")
        damaged = (await a.status())["damage"]["damaged"]
        assert len([text for text in damaged if text.startswith("ballots: page")]) == len(ballots[1::3]) > 1
        await eventually(lambda: _same_votes(a, b, expected))
        await vote_on(a, (1, 2))  # its own chain goes on, and nobody says that it contradicts itself
        await vote_on(b, (2, 3))
        await eventually(lambda: a.votes._fingerprint() == b.votes._fingerprint())
        assert await votes_of(a) == await votes_of(b)
        assert (a.votes.disqualified, b.votes.disqualified) == ({}, {})
        await made.stop("b")
        with sqlite3.connect(file) as conn:
            assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def _same_votes(a, b, expected):
    return a.votes._fingerprint() == b.votes._fingerprint() and await votes_of(a) == expected
