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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import trio

from peersdb.errors import CorruptData, DiskFull, ShuttingDown, StorageError
from peersdb.store.outcome import Outcome, Report, tell_all

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


class _Task(NamedTuple):
    """One job on its way through the writer."""

    job: Job[Any]
    durable: bool
    reports: Sequence[Report]
    outcome: Outcome[Any]


class Database:
    """The node's database; made by `open_database`, ended by `close`."""

    def __init__(self, path: Path, schema: str, version: int) -> None:
        """Opens (and creates or checks) the database and starts the writer thread."""
        self.path = path
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._slots = trio.Semaphore(MAX_QUEUE)
        self._readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._reading = trio.CapacityLimiter(READERS)
        self._closed = False
        # Nothing is queued after the end: whoever queues may be in any thread.
        self._gate = threading.Lock()
        self._full: bool | None = None
        with mapped_errors(f"opening {path}"):
            self._conn = _connect(path)
            # What undoes a job of a batch: copies of the pages it changed, about 20 for a post, 1,500 for a batch of a
            # join. A file for them would cost a post as much as its own pages.
            self._conn.execute("PRAGMA temp_store=MEMORY")
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
            done = trio.Event()
            crossing = trio.lowlevel.current_trio_token().run_sync_soon
            outcome = self.submit(job, durable=durable, reports=[Report(crossing, lambda _: done.set())])
            # The job will run whatever happens to the caller: wait for it, so that a cancelled caller
            # never leaves the data in a state that nobody knows.
            with trio.CancelScope(shield=True):
                await done.wait()
        finally:
            self._slots.release()
        return outcome.get()

    def submit(self, job: Job[T], *, durable: bool, reports: Sequence[Report]) -> Outcome[T]:
        """Queues a job and returns at once; from any thread, see `write`.

        Nobody waits for a place here: who calls this looks at `crowded` before.

        Args:
            job: see `write`.
            durable: see `write`.
            reports: told in their order; those of one batch with the same crossing are told together.

        Raises:
            ShuttingDown: the database is closed.
        """
        task = _Task(job, durable, reports, Outcome())
        with self._gate:
            self._check_open()
            self._tasks.put(task)
        return task.outcome

    @property
    def crowded(self) -> bool:
        """As many jobs wait as may: take `write`, which waits for a place. From any thread."""
        return self._tasks.qsize() >= MAX_QUEUE

    async def read(self, job: Job[T]) -> T:
        """Runs a reading job in a worker thread, on a connection of its own, in one snapshot."""

        def run() -> T:
            with self.snapshot() as conn:
                return job(conn)

        self._check_open()
        return await trio.to_thread.run_sync(run, limiter=self._reading)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A reading connection in one snapshot, for code that is in a worker thread already; not to be kept long."""
        self._check_open()
        conn = self._readers.get()
        try:
            with mapped_errors(f"reading {self.path}"):
                conn.execute("BEGIN")
                try:
                    yield conn
                finally:
                    conn.execute("COMMIT")
        finally:
            self._readers.put(conn)

    def _check_open(self) -> None:
        if self._closed:
            raise ShuttingDown("the node is stopping: the database is closed")

    def close(self) -> None:
        """Finishes the waiting jobs, then closes; blocks until that is done."""
        with self._gate:
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
            tell_all((task.outcome, task.reports) for task in batch)
            if stop:
                break

    def _commit(self, batch: list[_Task]) -> None:
        conn = self._conn
        try:
            self._set_synchronous(full=any(task.durable for task in batch))
            conn.execute("BEGIN IMMEDIATE")
            if len(batch) == 1:  # its failure is the transaction's
                batch[0].outcome.result = batch[0].job(conn)
            else:
                for task in batch:
                    self._attempt(task)
            conn.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - handed to every caller of the batch
            with contextlib.suppress(sqlite3.Error):
                conn.execute("ROLLBACK")
            failure = mapped(error, f"writing {self.path}")
            for task in batch:
                task.outcome.error = task.outcome.error or failure

    def _set_synchronous(self, *, full: bool) -> None:
        if self._full is not full:
            self._full = None
            self._conn.execute(f"PRAGMA synchronous={'FULL' if full else 'NORMAL'}")
            self._full = full

    def _attempt(self, task: _Task) -> None:
        """Runs one job of several; a failure undoes this job only."""
        conn = self._conn
        conn.execute("SAVEPOINT job")
        try:
            task.outcome.result = task.job(conn)
        except Exception as error:
            task.outcome.error = mapped(error, f"writing {self.path}")
            if not conn.in_transaction:  # SQLite itself gave up on the whole transaction (disk full)
                raise
            conn.execute("ROLLBACK TO job")
        conn.execute("RELEASE job")


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
    except (sqlite3.Error, OSError) as error:
        raise mapped(error, doing) from error


def mapped(error: Exception, doing: str) -> Exception:
    """The node's error for one of SQLite or of the operating system; any other stays as it is."""
    if isinstance(error, sqlite3.Error):
        found: Exception = _mapped(error, doing)
    elif not isinstance(error, OSError):
        return error
    elif error.errno in (errno.ENOSPC, errno.EDQUOT):
        found = DiskFull(f"{doing}: no space left on the disk; free some and try again")
    else:
        found = StorageError(f"{doing}: {error.strerror or error}")
    found.__cause__ = error
    return found


def _mapped(error: sqlite3.Error, doing: str) -> StorageError:
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith("SQLITE_FULL"):
        return DiskFull(f"{doing}: no space left on the disk; free some and try again")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return CorruptData(f"{doing}: the database is damaged ({error}); restore it, or start on a new -repo")
    return StorageError(f"{doing}: {error}")
