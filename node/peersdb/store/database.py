"""SQLite in WAL mode: one writer thread with group commit, a small pool of readers.

All jobs that wait when the writer comes round share one transaction and so one sync to disk. A job
that fails is rolled back alone (savepoint); a commit that fails, fails every job in it. A batch with
at least one durable job commits with ``synchronous=FULL``: the WAL is synced before anyone is told.
"""

from __future__ import annotations

import contextlib
import errno
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import trio

from peersdb.errors import CorruptData, DiskFull, PeersDBError, ShuttingDown, StorageError

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]

#: Jobs in one transaction at most: bounds how long the first of them waits for the last.
MAX_BATCH = 256
#: Jobs waiting at most; further callers wait for a place, so that memory stays bounded.
MAX_QUEUE = 2048
#: Reading connections: more only wait for the two or four cores of a usual machine.
READERS = 4
#: A commit that leaves the WAL longer than this many pages (4 KiB each) copies it back.
CHECKPOINT_PAGES = 4000


class _Task(Generic[T]):
    """One job on its way through the writer."""

    __slots__ = ("done", "durable", "error", "job", "result", "token")

    def __init__(self, job: Job[T], durable: bool, token: trio.lowlevel.TrioToken) -> None:
        self.job = job
        self.durable = durable
        self.token = token
        self.done = trio.Event()
        self.result: Any = None
        self.error: Exception | None = None


class Database:
    """The node's database; made by `open_database`, ended by `close`."""

    def __init__(self, path: Path, schema: str, version: int) -> None:
        """Opens (and creates or checks) the database and starts the writer thread."""
        self.path = path
        self._tasks: queue.SimpleQueue[_Task[Any] | None] = queue.SimpleQueue()
        self._slots = trio.Semaphore(MAX_QUEUE)
        self._readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._reading = trio.CapacityLimiter(READERS)
        self._closed = False
        with mapped_errors(f"opening {path}"):
            self._conn = _connect(path)
            self._create(schema, version)
            for _ in range(READERS):
                reader = _connect(path)
                reader.execute("PRAGMA query_only=ON")
                self._readers.put(reader)
        self._thread = threading.Thread(target=self._run, name="peersdb-writer", daemon=True)
        self._thread.start()

    def _create(self, schema: str, version: int) -> None:
        (found,) = self._conn.execute("PRAGMA user_version").fetchone()
        if found not in (0, version):
            raise StorageError(
                f"{self.path} has format {found}, this version of peersdb knows {version}: "
                "run the version that wrote it, or start on another -repo"
            )
        if found == 0:
            self._conn.execute("PRAGMA synchronous=FULL")
            self._conn.executescript(f"BEGIN IMMEDIATE; {schema}; PRAGMA user_version={version}; COMMIT;")

    async def write(self, job: Job[T], *, durable: bool) -> T:
        """Runs a job on the writer thread and waits until its transaction is committed.

        Args:
            job: gets the connection; its changes are one savepoint. It may run only SQL and pure code.
            durable: the commit is on the disk when this returns (else: in order, but a power cut may
                lose the last moments).

        Raises:
            PeersDBError: what the job raised, or the mapped error of SQLite.
        """
        try:
            self._slots.acquire_nowait()  # the usual case, without a turn of the scheduler
        except trio.WouldBlock:
            await self._slots.acquire()
        try:
            if self._closed:
                raise ShuttingDown("the node is stopping: the database is closed")
            task = _Task(job, durable, trio.lowlevel.current_trio_token())
            self._tasks.put(task)
            # The job will run whatever happens to the caller: wait for it, so that a cancelled caller
            # never leaves the data in a state that nobody knows.
            with trio.CancelScope(shield=True):
                await task.done.wait()
        finally:
            self._slots.release()
        if task.error is not None:
            raise task.error
        result: T = task.result
        return result

    async def read(self, job: Job[T]) -> T:
        """Runs a reading job in a worker thread, on a connection of its own, in one snapshot."""

        def run() -> T:
            conn = self._readers.get()
            try:
                with mapped_errors(f"reading {self.path}"):
                    conn.execute("BEGIN")
                    try:
                        return job(conn)
                    finally:
                        conn.execute("COMMIT")
            finally:
                self._readers.put(conn)

        if self._closed:
            raise ShuttingDown("the node is stopping: the database is closed")
        return await trio.to_thread.run_sync(run, limiter=self._reading)

    def close(self) -> None:
        """Finishes the waiting jobs, then closes; blocks until that is done."""
        if self._closed:
            return
        self._closed = True
        self._tasks.put(None)
        self._thread.join()
        for _ in range(READERS):
            self._readers.get().close()
        with mapped_errors(f"closing {self.path}"):
            self._conn.close()

    # --- the writer thread -------------------------------------------------------------------------

    def _run(self) -> None:
        while (first := self._tasks.get()) is not None:
            batch = [first]
            stop = False
            while len(batch) < MAX_BATCH and not self._tasks.empty():
                task = self._tasks.get()
                if task is None:
                    stop = True
                    break
                batch.append(task)
            self._commit(batch)
            _report(batch)
            if stop:
                break

    def _commit(self, batch: list[_Task[Any]]) -> None:
        conn = self._conn
        durable = any(task.durable for task in batch)
        try:
            with mapped_errors(f"writing {self.path}"):
                conn.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                conn.execute("BEGIN IMMEDIATE")
                for task in batch:
                    self._attempt(task, alone=len(batch) == 1)
                conn.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - handed to every caller of the batch
            with contextlib.suppress(sqlite3.Error):
                conn.execute("ROLLBACK")
            for task in batch:
                task.error = task.error or error

    def _attempt(self, task: _Task[Any], *, alone: bool) -> None:
        """Runs one job; a failure undoes this job only."""
        conn = self._conn
        conn.execute("SAVEPOINT job")
        try:
            with mapped_errors(f"writing {self.path}"):
                task.result = task.job(conn)
        except Exception as error:
            task.error = error
            if not conn.in_transaction:  # SQLite itself gave up on the whole transaction (disk full)
                raise
            conn.execute("ROLLBACK TO job")
            if alone and not isinstance(error, PeersDBError):
                raise
        conn.execute("RELEASE job")


def _report(batch: list[_Task[Any]]) -> None:
    """Wakes the callers: one crossing for the whole batch where they share an event loop."""
    by_token: dict[trio.lowlevel.TrioToken, list[_Task[Any]]] = {}
    for task in batch:
        by_token.setdefault(task.token, []).append(task)
    for token, tasks in by_token.items():

        def wake(tasks: list[_Task[Any]] = tasks) -> None:
            for task in tasks:
                task.done.set()

        with contextlib.suppress(trio.RunFinishedError):  # the loop ended: nobody waits any more
            token.run_sync_soon(wake)


def _connect(path: Path) -> sqlite3.Connection:
    conn = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=10, cached_statements=256
    )
    conn.execute("PRAGMA journal_mode=WAL")
    conn.execute("PRAGMA foreign_keys=ON")
    conn.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    conn.execute("PRAGMA cache_size=-8192")  # 8 MiB a connection
    conn.execute("PRAGMA temp_store=FILE")
    return conn


@contextlib.contextmanager
def mapped_errors(doing: str) -> Iterator[None]:
    """Maps errors of SQLite and of the operating system to the node's, with what was being done."""
    try:
        yield
    except sqlite3.Error as error:
        raise _mapped(error, doing) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"{doing}: no space left on the disk; free some and try again") from error
        raise StorageError(f"{doing}: {error.strerror or error}") from error


def _mapped(error: sqlite3.Error, doing: str) -> StorageError:
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith("SQLITE_FULL"):
        return DiskFull(f"{doing}: no space left on the disk; free some and try again")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return CorruptData(f"{doing}: the database is damaged ({error}); restore it, or start on a new -repo")
    return StorageError(f"{doing}: {error}")
