"""Group commit: many writes share few commits, a failure undoes what it must and nothing else."""

import asyncio
import os
import sys
import threading

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from peersdb.errors import CorruptData, DiskFull, ShuttingDown, StorageError
from peersdb.store.database import MAX_BATCH, MAX_QUEUE, Database
from peersdb.store.outcome import Report

SCHEMA = """
CREATE TABLE kept (number INTEGER PRIMARY KEY, data BLOB);
CREATE TABLE child (parent INTEGER REFERENCES kept (number) DEFERRABLE INITIALLY DEFERRED)
"""


@pytest.fixture
def database(tmp_path):
    made = Database(tmp_path / "db.sqlite", SCHEMA, 1)
    yield made
    made.close()


def insert(number, size=0):
    return lambda conn: conn.execute("INSERT INTO kept VALUES (?, zeroblob(?))", (number, size)) and number


def orphan(conn):
    conn.execute("INSERT INTO child VALUES (-1)")  # noticed by the commit only


async def numbers(database):
    return await database.read(
        lambda conn: [n for (n,) in conn.execute("SELECT number FROM kept ORDER BY number")]
    )


class Gate:
    """Holds the writer thread, so that all jobs of a test are waiting when it comes round."""

    def __init__(self, database):
        self.database, self.open, self.reached = database, threading.Event(), threading.Event()
        self.statements = []
        database._conn.set_trace_callback(self.statements.append)

    def hold(self, _conn):
        self.reached.set()
        assert self.open.wait(10)

    @property
    def commits(self):
        return self.statements.count("COMMIT")


async def at_once(database, jobs, durable=True):
    """Runs jobs that are all waiting together; the results or errors in order, and the commits they took."""
    gate, results = Gate(database), [None] * len(jobs)

    async def run(index, job):
        try:
            results[index] = await database.write(job, durable=durable)
        except Exception as error:  # noqa: BLE001 - it is the result
            results[index] = error

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: database.write(gate.hold, durable=False))
        await trio.to_thread.run_sync(gate.reached.wait)
        for index, job in enumerate(jobs):
            nursery.start_soon(run, index, job)
        await wait_all_tasks_blocked()
        gate.open.set()
    return results, gate.commits - 1


async def test_writes_that_wait_together_share_one_commit(database):
    results, commits = await at_once(database, [insert(n) for n in range(200)])
    assert results == list(range(200))
    assert commits == 1
    assert await numbers(database) == list(range(200))


async def test_a_batch_is_bounded(database):
    _, commits = await at_once(database, [insert(n) for n in range(2 * MAX_BATCH + 1)])
    assert commits == 3


async def test_more_writers_than_the_queue_holds_are_all_served(database):
    results, _ = await at_once(database, [insert(n) for n in range(MAX_QUEUE + 50)])
    assert results == list(range(MAX_QUEUE + 50))


async def test_a_batch_with_a_durable_write_is_synced_and_one_without_is_not(database):
    gate = Gate(database)
    gate.open.set()
    await database.write(insert(1), durable=False)
    assert "PRAGMA synchronous=NORMAL" in gate.statements
    assert "PRAGMA synchronous=FULL" not in gate.statements
    await database.write(insert(2), durable=True)
    assert "PRAGMA synchronous=FULL" in gate.statements


async def test_one_durable_write_makes_its_whole_batch_durable(database):
    gate = Gate(database)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: database.write(gate.hold, durable=False))
        await trio.to_thread.run_sync(gate.reached.wait)
        nursery.start_soon(lambda: database.write(insert(1), durable=False))
        nursery.start_soon(lambda: database.write(insert(2), durable=True))
        await wait_all_tasks_blocked()
        gate.statements.clear()
        gate.open.set()
    assert [s for s in gate.statements if "synchronous" in s] == ["PRAGMA synchronous=FULL"]


async def test_a_job_that_fails_undoes_itself_alone(database):
    def fails(conn):
        insert(100)(conn)
        raise StorageError("no")

    results, commits = await at_once(database, [insert(1), fails, insert(2)])
    assert results[0] == 1
    assert str(results[1]) == "no"
    assert results[2] == 2
    assert commits == 1
    assert await numbers(database) == [1, 2]


async def test_a_bug_in_a_job_reaches_its_caller_as_it_is(database):
    def bug(conn):
        insert(100)(conn)
        raise KeyError("bug")

    results, _ = await at_once(database, [insert(1), bug, insert(2)])
    assert results[0] == 1
    assert isinstance(results[1], KeyError)
    assert results[2] == 2
    with pytest.raises(KeyError):
        await database.write(bug, durable=True)
    assert await numbers(database) == [1, 2]
    assert await database.write(insert(3), durable=True) == 3


async def test_an_error_of_sqlite_is_mapped(database):
    await database.write(insert(1), durable=False)
    with pytest.raises(StorageError, match="UNIQUE"):
        await database.write(insert(1), durable=False)
    with pytest.raises(StorageError, match="no such table"):
        await database.read(lambda conn: conn.execute("SELECT * FROM nowhere"))


async def test_a_commit_that_fails_fails_every_job_in_it_and_none_after(database):
    results, _ = await at_once(database, [insert(1), orphan, insert(2)])
    assert all(isinstance(result, StorageError) for result in results)
    assert await numbers(database) == []
    assert await database.write(insert(3), durable=True) == 3


async def test_a_full_database_refuses_keeps_what_it_has_and_works_again(database):
    await database.write(insert(1, 1000), durable=True)
    pages = await database.read(lambda conn: conn.execute("PRAGMA page_count").fetchone()[0])
    await database.write(lambda conn: conn.execute(f"PRAGMA max_page_count={pages + 2}"), durable=False)
    with pytest.raises(DiskFull, match="free some"):
        await database.write(insert(2, 100_000), durable=True)
    results, _ = await at_once(database, [insert(3), insert(4, 100_000)])
    assert isinstance(results[1], DiskFull)
    kept = {1} | {n for n in results if isinstance(n, int)}
    assert set(await numbers(database)) == kept
    await database.write(lambda conn: conn.execute("PRAGMA max_page_count=100000"), durable=False)
    await database.write(insert(5, 100_000), durable=True)
    assert set(await numbers(database)) == kept | {5}


async def test_a_cancelled_writer_still_learns_that_its_write_happened(database):
    gate = Gate(database)
    finished = []

    async def write():
        await database.write(insert(1), durable=True)
        finished.append(True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: database.write(gate.hold, durable=False))
        await trio.to_thread.run_sync(gate.reached.wait)
        nursery.start_soon(write)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        gate.open.set()
    assert finished == [True]
    assert await numbers(database) == [1]


async def test_a_job_from_any_thread_is_reported_after_its_commit_once_a_batch_in_each_thread(database):
    gate, ours, theirs = Gate(database), [], []
    told = threading.Event()

    def ours_soon(function, argument):
        ours.append([(o.result, gate.commits) for _, o in argument])
        function(argument)

    def theirs_soon(function, argument):
        theirs.append(len(argument))
        function(argument)

    seen = []

    def queue():
        for number in (1, 2, 2):
            reports = [Report(ours_soon, seen.append), Report(theirs_soon, lambda _: told.set())]
            database.submit(insert(number), durable=True, reports=reports)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: database.write(gate.hold, durable=False))
        await trio.to_thread.run_sync(gate.reached.wait)
        await trio.to_thread.run_sync(queue)
        gate.open.set()
        await trio.to_thread.run_sync(told.wait, 10)
    assert theirs == [3]
    assert ours == [[(1, 2), (2, 2), (None, 2)]]  # the gate's own commit was the first
    assert [outcome.get() for outcome in seen[:2]] == [1, 2]
    with pytest.raises(StorageError, match="UNIQUE"):
        seen[2].get()
    assert await numbers(database) == [1, 2]


async def test_nobody_who_is_gone_holds_up_the_others(database):
    loop = asyncio.new_event_loop()
    loop.close()
    gone = await trio.to_thread.run_sync(trio.run, _token)
    reports = [Report(loop.call_soon_threadsafe, pytest.fail), Report(gone.run_sync_soon, pytest.fail)]
    database.submit(insert(1), durable=True, reports=reports)
    assert await database.write(insert(2), durable=True) == 2
    assert await numbers(database) == [1, 2]


async def _token():
    return trio.lowlevel.current_trio_token()


async def test_a_reader_sees_one_snapshot(database):
    await database.write(insert(1), durable=False)
    reading, written = threading.Event(), threading.Event()
    seen = []

    def read(conn):
        count = "SELECT count(*) FROM kept"
        seen.append(conn.execute(count).fetchone()[0])
        reading.set()
        assert written.wait(10)
        seen.append(conn.execute(count).fetchone()[0])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.read, read)
        await trio.to_thread.run_sync(reading.wait)
        await database.write(insert(2), durable=False)
        written.set()
    assert seen == [1, 1]
    assert await numbers(database) == [1, 2]


async def test_a_reader_cannot_write(database):
    with pytest.raises(StorageError, match="readonly"):
        await database.read(insert(1))
    assert await numbers(database) == []


async def test_close_finishes_what_waits_and_refuses_what_comes(tmp_path):
    database = Database(tmp_path / "db.sqlite", SCHEMA, 1)
    results, _ = await at_once(database, [insert(n) for n in range(20)])
    database.close()
    database.close()
    assert results == list(range(20))
    with pytest.raises(ShuttingDown):
        await database.write(insert(21), durable=True)
    with pytest.raises(ShuttingDown):
        database.submit(insert(22), durable=True, reports=[])
    with pytest.raises(ShuttingDown):
        await numbers(database)
    again = Database(tmp_path / "db.sqlite", SCHEMA, 1)
    assert await numbers(again) == list(range(20))
    again.close()


@pytest.mark.parametrize("found", [2, 99])
def test_a_database_of_another_version_is_refused_and_not_touched(tmp_path, found):
    path = tmp_path / "db.sqlite"
    Database(path, SCHEMA, found).close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match=f"format {found}.*-repo"):
        Database(path, SCHEMA, 1)
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["no header", "page"])
async def test_a_damaged_database_is_named(tmp_path, damage):
    path = tmp_path / "db.sqlite"
    database = Database(path, SCHEMA, 1)
    for number in range(20):
        await database.write(insert(number, 3000), durable=True)
    database.close()
    data = bytearray(path.read_bytes())
    data[slice(0, 100) if damage == "no header" else slice(4096, None)] = b"\xa5" * (
        100 if damage == "no header" else len(data) - 4096
    )
    path.write_bytes(data)
    database = None
    with pytest.raises(CorruptData, match="damaged"):  # noqa: PT012 - at the start, or at the first read of that page
        database = Database(path, SCHEMA, 1)
        await database.read(lambda conn: conn.execute("SELECT number, data FROM kept").fetchall())
    if database is not None:
        database.close()


def other_file(path, numbers):
    """Makes another database beside this one."""

    def make(_file):
        made = Database(path.with_name("other"), SCHEMA, 1)
        made._conn.executemany("INSERT INTO kept VALUES (?, NULL)", [(number,) for number in numbers])
        made.close()
        return "made"

    return make, lambda: path.with_name("other").replace(path)


async def test_another_file_takes_the_place_of_this_one_and_all_go_on(tmp_path):
    path = tmp_path / "db.sqlite"
    database = Database(path, SCHEMA, 1)
    await database.write(insert(1), durable=True)
    make, swap = other_file(path, [7, 8])
    reading, go_on = threading.Event(), threading.Event()

    def read(conn):  # a reader that is at it keeps its snapshot, and the swap waits for it
        reading.set()
        assert go_on.wait(10)
        return [n for (n,) in conn.execute("SELECT number FROM kept")]

    results = {}

    async def keep(name, call):
        results[name] = await call()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep, "reader", lambda: database.read(read))
        await trio.to_thread.run_sync(reading.wait)
        nursery.start_soon(keep, "replace", lambda: database.replace(make, swap))
        await wait_all_tasks_blocked(0.05)
        nursery.start_soon(keep, "writer", lambda: database.write(insert(9), durable=True))
        await wait_all_tasks_blocked(0.05)
        go_on.set()
    assert results == {"reader": [1], "replace": "made", "writer": 9}
    assert await numbers(database) == [7, 8, 9]
    database.close()


async def test_a_replacement_that_cannot_be_made_changes_nothing(database):
    await database.write(insert(1), durable=True)

    def fails(_file):
        raise OSError(28, "No space left on device")

    def never():
        raise AssertionError

    with pytest.raises(DiskFull):
        await database.replace(fails, never)
    await database.write(insert(2), durable=True)
    assert await numbers(database) == [1, 2]


async def test_a_file_that_cannot_be_opened_again_is_an_error_for_all_and_no_hang(tmp_path):
    path = tmp_path / "db.sqlite"
    database = Database(path, SCHEMA, 1)

    def gone():
        path.unlink()
        path.mkdir()

    with trio.fail_after(10):
        with pytest.raises(StorageError):
            await database.replace(lambda _file: None, gone)
        with pytest.raises(StorageError, match="restart the node"):
            await numbers(database)
        with pytest.raises(StorageError):
            await database.write(insert(1), durable=False)
    database.close()


OTHER_PROGRAM = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as conn:
    print(conn.execute("SELECT count(*) FROM kept").fetchone()[0])
conn.close()
"""


async def test_another_program_leaves_the_write_ahead_log_alone_after_a_replacement_that_failed(tmp_path):
    """As it does before: the locks of this process are still there."""
    path = tmp_path / "db.sqlite"
    database = Database(path, SCHEMA, 1)
    await database.write(insert(1), durable=True)

    def fails(file):
        assert os.pread(file, 15, 0) == b"SQLite format 3"
        raise OSError(28, "No space left on device")

    for number in (2, 3):
        with pytest.raises(DiskFull):
            await database.replace(fails, lambda: None)
        seen = await trio.run_process([sys.executable, "-c", OTHER_PROGRAM, path], capture_stdout=True)
        assert seen.stdout == b"%d\n" % (number - 1)
        assert path.with_name("db.sqlite-wal").exists()
        await database.write(insert(number), durable=True)
    database.close()
    database = Database(path, SCHEMA, 1)
    assert await numbers(database) == [1, 2, 3]
    database.close()


async def test_nothing_is_written_to_the_old_file_once_the_new_one_is_made(tmp_path):
    path = tmp_path / "db.sqlite"
    database = Database(path, SCHEMA, 1)
    make, swap = other_file(path, [7])

    def fails():
        raise OSError(5, "Input/output error")

    with trio.fail_after(10):
        with pytest.raises(StorageError, match="Input/output"):
            await database.replace(make, fails)
        with pytest.raises(StorageError):
            await database.write(insert(8), durable=True)
        with pytest.raises(StorageError, match="restart the node"):
            await numbers(database)
    database.close()
    swap()
    database = Database(path, SCHEMA, 1)
    assert await numbers(database) == [7]
    database.close()


async def test_no_replacement_is_left_waiting_when_the_database_closes(tmp_path):
    path = tmp_path / "db.sqlite"
    database = Database(path, SCHEMA, 1)
    make, swap = other_file(path, [3])
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(database.replace, make, swap)
            await wait_all_tasks_blocked()
            await trio.to_thread.run_sync(database.close)
        with pytest.raises(ShuttingDown):
            await database.replace(make, swap)
    again = Database(path, SCHEMA, 1)
    assert await numbers(again) == [3]
    again.close()


async def test_damage_that_sqlite_meets_is_told_and_other_errors_are_not(tmp_path):
    path = tmp_path / "db.sqlite"
    database = Database(path, SCHEMA, 1)
    for number in range(20):
        await database.write(insert(number, 3000), durable=True)
    database.close()
    data = bytearray(path.read_bytes())
    data[4096 * 4 :] = b"\xa5" * (len(data) - 4096 * 4)
    path.write_bytes(data)
    database, told = Database(path, SCHEMA, 1), []
    database.on_damage = told.append
    with pytest.raises(StorageError):
        await database.read(lambda conn: conn.execute("SELECT * FROM nowhere"))
    assert told == []
    for ask in (database.read, lambda job: database.write(job, durable=False)):
        with pytest.raises(CorruptData, match="rebuilds it"):
            await ask(lambda conn: conn.execute("SELECT sum(length(data)) FROM kept").fetchall())
    assert len(told) == 2
    database.close()
