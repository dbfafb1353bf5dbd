"""A start tells a damaged database from one that was killed, is not begun, or is another version's."""

import contextlib
import hashlib
import os
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest
import trio
from store_helpers import MANIFEST, SIGNERS, opened, payload

from peersdb.errors import DiskFull, StorageError
from peersdb.store import checkup, damage, repair
from peersdb.store.log import LogStore
from peersdb.store.opening import open_database
from peersdb.store.pages import PAGE
from peersdb.store.schema import SCHEMA, TEXT, VERSION, plain

OWN = SIGNERS[0].identity


async def posts(repo, count):
    store = LogStore(repo.database)
    await store.create(MANIFEST)
    for number in range(1, count + 1):
        await store.append(SIGNERS[0], payload(SIGNERS[0], number), lambda _conn, _entry: None)


def crash(repo, folder):
    """What a killed node leaves: the file and its write-ahead log as they are at this moment."""
    folder.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{repo.database.path}{suffix}", folder)
    return folder / "peersdb.sqlite"


def entries(path):
    """How many entries there are after a start that finds nothing wrong."""
    database = open_database(path, OWN)
    try:
        with database.snapshot() as conn:
            (count,) = conn.execute("SELECT count(*) FROM entries").fetchone()
    finally:
        database.close()
    assert not rebuilt(path)
    return count


def log_size(path):
    return Path(f"{path}-wal").stat().st_size


def rebuilt(path):
    return [found.name for found in path.parent.iterdir() if "damage" in found.name or "rebuil" in found.name]


async def test_a_node_that_was_killed_is_not_damaged(tmp_path):
    with opened(tmp_path / "repo") as repo:
        await posts(repo, 30)
        path = crash(repo, tmp_path / "crash")
    assert path.stat().st_size < log_size(path)
    assert entries(path) == 30


async def test_a_huge_transaction_that_was_killed_is_not_damage_and_nothing_of_it_is_there(tmp_path):
    with opened(tmp_path / "repo") as repo:
        await posts(repo, 10)
        conn = repo.database._conn
        before = log_size(repo.database.path)
        conn.execute("BEGIN IMMEDIATE")
        for number in range(900):  # more than the cache holds: it is in the log before its end
            conn.execute("INSERT INTO blocks VALUES (?, ?)", (os.urandom(32), bytes([number % 256]) * 16_000))
        path = crash(repo, tmp_path / "crash")
        conn.execute("ROLLBACK")
    assert log_size(path) > before + 100 * PAGE
    shutil.copytree(path.parent, tmp_path / "again")
    assert entries(path) == 10
    # Also where it has to be rebuilt for another reason.
    path = tmp_path / "again" / "peersdb.sqlite"
    with path.open("rb") as file:
        found = repair.rebuild(path, file.fileno(), OWN, lambda: False, lambda _found: None)
    assert (found.entries, found.missing) == (10, 0)
    with sqlite3.connect(f"{path}.rebuilt") as new:
        assert new.execute("SELECT count(*) FROM blocks WHERE length(data) = 16000").fetchone() == (0,)


@pytest.mark.parametrize("begun", ["nothing", "the header", "a transaction"])
def test_a_start_that_was_cut_is_not_damage(tmp_path, begun):
    path = tmp_path / "peersdb.sqlite"
    if begun == "nothing":
        path.touch()
        Path(f"{path}-wal").touch()
    elif begun == "the header":
        with sqlite3.connect(path) as conn:
            conn.execute("PRAGMA journal_mode=WAL")
    else:
        source = tmp_path / "source.sqlite"
        conn = sqlite3.connect(source, isolation_level=None)
        conn.executescript("PRAGMA cache_size=1; BEGIN; CREATE TABLE one (data)")
        conn.executemany("INSERT INTO one VALUES (?)", [(bytes(3000),)] * 50)
        shutil.copy(source, path)
        shutil.copy(f"{source}-journal", f"{path}-journal")
        conn.close()
        assert path.stat().st_size > PAGE
    assert entries(path) == 0


@pytest.mark.parametrize(
    "how", ["as it is", "another page size", "pages of it are damaged", "in the log alone"]
)
async def test_a_database_of_another_version_is_refused_and_never_touched(tmp_path, how):
    path = tmp_path / "peersdb.sqlite"
    conn = sqlite3.connect(path, isolation_level=None)
    if how == "another page size":
        conn.execute("PRAGMA page_size=8192")
    conn.executescript(f"PRAGMA journal_mode=WAL; CREATE TABLE new (data); PRAGMA user_version={VERSION + 1}")
    conn.executemany("INSERT INTO new VALUES (?)", [(os.urandom(3000),) for _ in range(20)])
    if how == "in the log alone":
        (tmp_path / "crash").mkdir()
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", tmp_path / "crash")
    conn.close()
    if how == "in the log alone":
        path = tmp_path / "crash" / "peersdb.sqlite"
    elif how == "pages of it are damaged":
        with path.open("r+b") as file:
            file.seek(100)
            file.write(os.urandom(2 * PAGE))
    before = path.read_bytes()
    with pytest.raises(StorageError):
        open_database(path, OWN)
    assert rebuilt(path) == []
    if how != "in the log alone":
        assert path.read_bytes() == before
    elif sqlite3.connect(path).execute("SELECT count(*) FROM new").fetchone() != (20,):
        pytest.fail("rows are gone")


def test_other_comments_and_spaces_in_the_schema_are_no_damage(tmp_path):
    path = tmp_path / "peersdb.sqlite"
    with sqlite3.connect(path) as conn:
        conn.executescript(
            plain(re.sub("-- .*", "-- other words", TEXT).replace(" NOT NULL", "  NOT   NULL"))
        )
        conn.execute(f"PRAGMA user_version={VERSION}")
    assert entries(path) == 0


def test_a_version_has_one_schema_for_ever():
    """Another one would be taken for a damage by the next start: it takes another `VERSION`, and a migration."""
    with sqlite3.connect(":memory:") as conn:
        conn.executescript(SCHEMA)
        text = repr(checkup._schema(conn))
    golden = {1: "e61356dd8288cf27"}
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == golden[VERSION]


async def test_a_file_that_was_emptied_is_made_of_its_write_ahead_log(tmp_path):
    with opened(tmp_path / "repo") as repo:
        await posts(repo, 30)
        path = crash(repo, tmp_path / "crash")
    path.write_bytes(b"")
    database = open_database(path, OWN)
    with database.snapshot() as conn:
        assert conn.execute("SELECT count(*) FROM entries").fetchone() == (30,)
    database.close()
    assert (damage.load(path.parent).entries, damage.load(path.parent).missing) == (30, 0)


@pytest.mark.parametrize("failures", [1, 99])
async def test_a_read_that_fails_once_is_no_damage_and_one_that_always_fails_is(
    tmp_path, monkeypatch, failures
):
    with opened(tmp_path / "repo") as repo:
        await posts(repo, 5)
        path = repo.database.path
    left, probe = [failures], checkup._probe

    def failing(conn):
        if left[0]:
            left[0] -= 1
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorname = "SQLITE_IOERR_CORRUPTFS"
            raise error
        return probe(conn)

    monkeypatch.setattr(checkup, "_probe", failing)
    monkeypatch.setattr(checkup, "WAIT", 0.0)
    if failures == 1:
        assert entries(path) == 5
    else:
        open_database(path, OWN).close()
        assert damage.load(path.parent).reason == "disk I/O error"
        assert damage.load(path.parent).entries == 5


@pytest.mark.parametrize("name", ["SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE", "SQLITE_BUSY"])
async def test_a_disk_that_is_full_is_no_damage(tmp_path, monkeypatch, name):
    with opened(tmp_path / "repo") as repo:
        path = repo.database.path

    def failing(_conn):
        error = sqlite3.OperationalError("it cannot be written")
        error.sqlite_errorname = name
        raise error

    monkeypatch.setattr(checkup, "_probe", failing)
    with pytest.raises(StorageError):
        open_database(path, OWN)
    assert rebuilt(path) == []


def damaged(repo_path):
    """The file of a closed repo with its first page overwritten."""
    path = repo_path / "peersdb.sqlite"
    with path.open("r+b") as file:
        file.seek(0)
        file.write(os.urandom(PAGE))
    return path


@pytest.mark.parametrize("step", ["salvage", "damage.save", "rename"])
async def test_a_rebuild_without_space_leaves_all_as_it_was_and_the_next_start_makes_it(
    tmp_path, monkeypatch, step
):
    with opened(tmp_path / "repo") as repo:
        await posts(repo, 30)
    path = damaged(tmp_path / "repo")
    before, rename = path.read_bytes(), Path.rename

    def full(*_args, **_keywords):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        if step == "salvage":
            patch.setattr(repair, "salvage", full)
        elif step == "damage.save":
            patch.setattr(damage, "write_synced", full)
        else:
            patch.setattr(Path, "rename", lambda one, to: full() if "rebuilt" in str(to) else rename(one, to))
        with pytest.raises(DiskFull):
            open_database(path, OWN)
    assert path.read_bytes() == before
    assert [name for name in rebuilt(path) if name != "damage.json"] == []
    open_database(path, OWN).close()
    assert damage.load(path.parent).entries == 30


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 24 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24M", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a small file system: {mounted.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_disk_that_is_full_during_a_rebuild_keeps_the_old_file(small_disk):
    with opened(small_disk / "repo") as repo:
        trio.run(posts, repo, 1000)
    path = damaged(small_disk / "repo")
    before, ballast = path.read_bytes(), small_disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        file.write(bytes(24 * 1024 * 1024 - len(before) - 200_000))
    assert len(before) > 1024 * 1024
    with pytest.raises(DiskFull):
        open_database(path, OWN)
    assert path.read_bytes() == before
    assert rebuilt(path) == []
    ballast.unlink()
    open_database(path, OWN).close()
    assert damage.load(path.parent).entries == 1000


@pytest.mark.parametrize("steps", range(4))
async def test_a_swap_that_was_cut_is_finished_by_the_next_start_under_the_name_that_was_noted(
    tmp_path, monkeypatch, steps
):
    with opened(tmp_path / "repo") as repo:
        await posts(repo, 30)
        path = crash(repo, tmp_path / "crash")
    path.write_bytes(b"")  # so that the write-ahead log is there too
    left, rename = [steps + 1], Path.rename

    class Killed(BaseException):
        pass

    def cut(self, target):
        if str(target).startswith(str(path)) and not str(target).endswith((".rebuilt", ".json")):
            left[0] -= 1
            if not left[0]:
                raise Killed
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", cut)
        patch.setattr(repair, "free_stamp", lambda _path: "then")
        if steps < 3:
            with pytest.raises(Killed):
                open_database(path, OWN)
        else:
            open_database(path, OWN).close()
    open_database(path, OWN).close()
    noted = damage.load(path.parent)
    assert (noted.entries, noted.kept) == (30, "peersdb.sqlite.damaged-then")
    assert path.with_name(noted.kept).exists()
    assert {name for name in rebuilt(path) if not name.endswith(("-wal", "-shm"))} == {
        noted.kept,
        "damage.json",
    }


def test_a_damaged_file_that_is_kept_is_never_written_over(tmp_path, monkeypatch):
    path = tmp_path / "peersdb.sqlite"
    for content in ("one", "two", "three"):
        path.write_text(content)
        path.with_name("peersdb.sqlite.rebuilt").touch()
        monkeypatch.setattr(repair.time, "strftime", lambda *_: "20250101T000000Z")
        repair.swap(path, repair.free_stamp(path))
    kept = sorted(tmp_path.glob("*.damaged-*"))
    assert [found.read_text() for found in kept] == ["one", "two", "three"]
    path.write_text("four")
    path.with_name("peersdb.sqlite.rebuilt").touch()
    repair.swap(path, "19700101T000000Z")  # the clock was set back
    assert (tmp_path / "peersdb.sqlite.damaged-19700101T000000Z").read_text() == "four"
    assert len(list(tmp_path.glob("*.damaged-*"))) == repair.KEEP


@pytest.mark.parametrize("folder", ["a b", "c#d", "e?f", "g%20h", "ü"])
async def test_a_look_at_everything_finds_the_file_whatever_its_name_is(tmp_path, folder):
    with opened(tmp_path / folder) as repo:
        await posts(repo, 30)
        assert repair.sound(repo.database.path)
    path = tmp_path / folder / "peersdb.sqlite"
    with path.open("r+b") as file:
        file.seek(4 * PAGE)
        file.write(os.urandom(PAGE))
    assert not repair.sound(path)
