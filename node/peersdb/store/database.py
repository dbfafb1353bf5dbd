"""SQLite in WAL mode: one writer thread with group commit, a small pool of readers.

All jobs that wait when the writer comes round share one transaction and so one sync to disk. A job
that fails is rolled back alone (savepoint); a commit that fails, fails every job in it. A batch with
at least one durable job commits with ``synchronous=FULL``: the WAL is synced before anyone is told.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import trio

from peersdb.errors import CorruptData, ShuttingDown, StorageError
from peersdb.store.failures import mapped, mapped_errors
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


class _Replacement(NamedTuple):
    """Another file for this database, on its way through the writer."""

    make: Callable[[int], Any]
    swap: Callable[[], None]
    reports: Sequence[Report]
    outcome: Outcome[Any]


class Database:
    """The node's database; made by `open_database`, ended by `close`.

    Attributes:
        on_damage: called when SQLite finds the file damaged, in whichever thread met it; see `CorruptData.sure`.
    """

    def __init__(self, path: Path, schema: str, version: int) -> None:
        """Opens (and creates or checks) the database and starts the writer thread."""
        self.path = path
        self.on_damage: Callable[[CorruptData], None] = lambda _error: None
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._slots = trio.Semaphore(MAX_QUEUE)
        # None: there is no connection any more, since a replaced file could not be opened.
        self._readers: queue.SimpleQueue[sqlite3.Connection | None] = queue.SimpleQueue()
        self._replacement: _Replacement | None = None
        self._file: BinaryIO | None = None
        self._reading = trio.CapacityLimiter(READERS)
        self._closed = False
        # Nothing is queued after the end: whoever queues may be in any thread.
        self._gate = threading.Lock()
        self._full: bool | None = None
        with mapped_errors(f"opening {path}"):
            self._conn = _connect_writer(path)
            try:
                self._create(schema, version)
            except BaseException:
                self._conn.close()
                raise
            self._open_readers()
        self._thread = threading.Thread(target=self._run, name="peersdb-writer", daemon=True)
        self._thread.start()

    def _open_readers(self) -> None:
        with contextlib.ExitStack() as undo:
            readers = []
            for _ in range(READERS):
                readers.append(_connect(self.path))
                undo.callback(readers[-1].close)
                readers[-1].execute("PRAGMA query_only=ON")
            undo.pop_all()
        for reader in readers:
            self._readers.put(reader)

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

    async def replace(self, make: Callable[[int], T], swap: Callable[[], None]) -> T:
        """Puts another file in the place of this one.

        Args:
            make: makes the file; gets a descriptor of this one. Runs while nothing is written and reading goes on.
                Gives what this gives. Once it gave it, the old file does not count any more.
            swap: puts it in place, while no connection is open; those who read or write wait.

        Raises:
            PeersDBError: what went wrong. In ``make``: all is as it was. Later: nothing is read or written until the
                node starts again, since what the old file would take now is lost when the new one takes its place.
        """
        done = trio.Event()
        crossing = trio.lowlevel.current_trio_token().run_sync_soon
        outcome: Outcome[T] = Outcome()
        self._replacement = _Replacement(make, swap, [Report(crossing, lambda _: done.set())], outcome)
        try:
            self.submit(lambda _conn: None, durable=False, reports=[])  # so that the writer comes round
        except ShuttingDown:
            self._replacement = None
            raise
        with trio.CancelScope(shield=True):
            await done.wait()
        return outcome.get()

    def _notice(self, error: Exception) -> None:
        if isinstance(error, CorruptData) and isinstance(error.__cause__, sqlite3.Error | UnicodeDecodeError):
            self.on_damage(error)

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
            if conn is None:
                raise StorageError(f"{self.path} could not be opened again: restart the node")
            with mapped_errors(f"reading {self.path}"):
                conn.execute("BEGIN")
                try:
                    yield conn
                finally:
                    conn.execute("COMMIT")
        except CorruptData as error:
            self._notice(error)
            raise
        finally:
            self._readers.put(conn)

    def _check_open(self) -> None:
        if self._closed:
            raise ShuttingDown("the node is stopping: the database is closed")

    @property
    def closing(self) -> bool:
        """Whether `close` was called; may be asked from any thread."""
        return self._closed

    def close(self) -> None:
        """Finishes the waiting jobs, then closes; blocks until that is done."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
            self._tasks.put(None)
        self._thread.join()
        self._close_readers()
        with mapped_errors(f"closing {self.path}"):
            self._close_writer()

    def _close_readers(self) -> None:
        for _ in range(READERS):
            reader = self._readers.get()  # waits for who reads
            if reader is not None:
                reader.close()

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
            if self._replacement is not None:
                asked, self._replacement = self._replacement, None
                self._replace(asked)
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
            self._notice(failure)
            for task in batch:
                task.outcome.error = task.outcome.error or failure

    def _replace(self, asked: _Replacement) -> None:
        try:
            with mapped_errors(f"replacing {self.path}"):
                asked.outcome.result = asked.make(self._descriptor())
                self._exchange(asked.swap)
        except Exception as error:  # noqa: BLE001 - handed to the caller
            asked.outcome.error = error
        tell_all([(asked.outcome, asked.reports)])

    def _descriptor(self) -> int:
        """The file itself, open for as long as a connection is.

        POSIX gives up all locks that a process has on a file as soon as it closes any handle of it. Without them
        another program (``sqlite3`` on the command line) would take itself for the last that has the database open,
        and remove the write-ahead log.
        """
        if self._file is None:
            self._file = self.path.open("rb")
        return self._file.fileno()

    def _exchange(self, swap: Callable[[], None]) -> None:
        self._close_readers()
        try:
            self._close_writer()
            swap()
            self._conn, self._full = _connect_writer(self.path), None
            self._open_readers()
        except BaseException:
            self._conn.close()
            for _ in range(READERS):
                self._readers.put(None)
            raise

    def _close_writer(self) -> None:
        self._conn.close()
        if self._file is not None:
            self._file.close()
            self._file = None

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
            self._notice(task.outcome.error)
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


def _connect_writer(path: Path) -> sqlite3.Connection:
    conn = _connect(path)
    # What undoes a job of a batch: copies of the pages it changed, about 20 for a post, 1,500 for a batch of a
    # join. A file for them would cost a post as much as its own pages.
    conn.execute("PRAGMA temp_store=MEMORY")
    return conn
