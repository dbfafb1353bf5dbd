"""Contributions: post, query, get, and the files a full replica keeps."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from pathlib import Path

import structlog
import trio

from peersdb.core.cid import CID, ipfs_path, parse_path
from peersdb.core.contribution import Contribution, check_name, format_timestamp
from peersdb.core.entry import Entry
from peersdb.core.identity import Signer
from peersdb.core.reconcile import Fingerprint
from peersdb.errors import BadRequest, CorruptData, InvalidEntry, NoStore, NotValid, PeersDBError
from peersdb.service.environment import Environment
from peersdb.service.files import Added, Files, Wrote, unheard
from peersdb.service.replication import Replication
from peersdb.service.validation import Answer, Listed, ValidationService
from peersdb.store.append import MakeContribution
from peersdb.store.blocks import insert_rows
from peersdb.store.contents import Cursor, Row
from peersdb.store.log import LogStore
from peersdb.store.outcome import Outcome, Report
from peersdb.store.tables import Pins, pin, record_validation, want

log = structlog.get_logger("contributions")

#: `get` gives up when nothing of the file came for so many seconds; a fetch that makes progress goes on.
GET_PATIENCE = 60.0
#: Content up to this size (bytes) becomes blocks at once: hashing it takes less than handing it to a thread.
POST_INLINE = 64 * 1024
#: Larger content is handed on in pieces of this size (bytes), one chunk of the default profile.
PIECE = 1024 * 1024
#: Files a full replica fetches at once.
FETCHES = 4
#: Waits after a fetch that failed, seconds; the last one stays: wanted files are wanted for ever.
RETRY = (1, 2, 5, 15, 60, 300)
#: For each peer that wants the same, a full replica waits so long (seconds) before it fetches what was announced: with
#: two peers nobody notices, with twenty all of them can be told of an entry meanwhile.
SPREAD = 0.02
#: The want queue is looked at so often (seconds) even if nothing new came.
IDLE = 30.0


class Contributions:
    """What the commands `post`, `query` and `get` do.

    Attributes:
        on_post: called when a file was shared here.
    """

    def __init__(
        self,
        *,
        signer: Signer,
        store: LogStore,
        pins: Pins,
        files: Files,
        replication: Replication,
        validation: ValidationService,
        environment: Environment,
        download_dir: Path,
        full_replica: bool,
    ) -> None:
        """Nothing happens before `run`."""
        self._signer, self._store, self._pins, self._files = signer, store, pins, files
        self._replication, self._validation, self._environment = replication, validation, environment
        self._download_dir, self._full_replica = download_dir, full_replica
        self._wanted = trio.Event()
        self.on_post: Callable[[], None] = lambda: None

    async def post(self, content: bytes, name: str | None = None) -> str:
        """Shares a file that is in memory; see `post_stream`."""
        if len(content) > POST_INLINE:
            return (await self.post_stream(_pieces(content), name))[0]
        self._check_post(name)
        return await self._share(await self._files.add(content), name)

    async def post_stream(self, chunks: AsyncIterable[bytes], name: str | None = None) -> tuple[str, int]:
        """Shares a file of any size as it comes.

        Blocks, entry and heads are on the disk when this returns.

        Returns:
            Its path, ``/ipfs/<cid>``, and its size in bytes.

        Raises:
            NoStore: there is no log to add it to yet.
            DiskFull: it does not fit; nothing was shared.
            BadRequest: the name is no file name.
        """
        self._check_post(name)
        added = await self._files.add_stream(chunks)
        return await self._share(added, name), added.size

    def _check_post(self, name: str | None) -> None:
        self.check_store()
        if name is not None:
            try:
                check_name(name)
            except InvalidEntry as error:
                raise BadRequest(str(error)) from error

    def post_soon(self, content: bytes, name: str | None, report: Report) -> bool:
        """Shares a small file from another thread than the node's, without a turn of that one.

        Peers are told of it by `posted`.

        Args:
            content: the file.
            name: see `post_stream`.
            report: told once the entry is on the disk, or of the error.

        Returns:
            False where it has to go by `post`, and nothing was done: the file is not small enough, peers have to be
            asked first, or too much waits.

        Raises:
            NoStore, BadRequest: see `post_stream`.
        """
        self._check_post(name)
        added = self._files.add_rows(content) if self._replication.own_chain.free else None
        if added is None:
            return False
        return self._store.append_soon(self._signer, *self._parts(added, name), [report])

    def posted(self, outcome: Outcome[tuple[Entry, Fingerprint]]) -> None:
        """In the node's thread: what `post_soon` reported."""
        if outcome.error is None:
            self._publish(*outcome.get())

    async def _share(self, added: Added, name: str | None) -> str:
        await self._replication.own_chain.check()
        self._publish(*await self._store.append(self._signer, *self._parts(added, name)))
        return ipfs_path(added.root)

    def _parts(
        self, added: Added, name: str | None
    ) -> tuple[MakeContribution, Callable[[sqlite3.Connection, Entry], None]]:
        """What an append needs to know of a file: its contribution, and what goes into the same transaction."""
        path = ipfs_path(added.root)
        record = self._validation.made_here(added.root)

        def contribution(epoch: int, seq: int, previous: str | None) -> Contribution:
            created = format_timestamp(self._environment.now_ns())
            return Contribution(path, self._signer.peer_id, created, name, added.size, seq, previous, epoch)

        def extra(conn: sqlite3.Connection, _entry: Entry) -> None:
            insert_rows(conn, added.small)
            pin(conn, path)
            record_validation(conn, record)

        return contribution, extra

    def _publish(self, entry: Entry, fingerprint: Fingerprint) -> None:
        self._replication.publish([entry], fingerprint)
        self.on_post()

    async def page(self, after: Cursor | None = None) -> tuple[list[Row], Cursor | None]:
        """One page of the contributions in the log's order, and where the next one starts (None: no more).

        Raises:
            NoStore: there is no log yet.
        """
        self.check_store()
        return await self._store.page(after)

    async def arrivals(self, after: int, limit: int, path: str | None = None) -> tuple[list[Row], int]:
        """Contributions in the order they came to this node; see `LogStore.arrivals`.

        Raises:
            NoStore: there is no log yet.
            InvalidCID: the path names no file.
        """
        self.check_store()
        return await self._store.arrivals(after, limit, None if path is None else ipfs_path(parse_path(path)))

    async def judged(self, after: int, limit: int, path: str | None = None) -> tuple[list[Listed], int]:
        """The same, each with the verdict on it; see `ValidationService.arrivals`."""
        self.check_store()
        file = None if path is None else ipfs_path(parse_path(path))
        return await self._validation.arrivals(after, limit, file)

    async def known_paths(self, start: str, limit: int) -> list[tuple[str, str | None]]:
        """Paths in the log that begin so, with their names; without a beginning the newest."""
        return await self._store.paths(start, limit)

    async def get(self, text: str, wrote: Wrote = unheard, *, only_valid: bool = False) -> tuple[str, Path]:
        """Fetches a file where it is not here, and writes it into the download directory.

        Args:
            text: its path, or its CID alone.
            wrote: told the bytes of each piece that was written.
            only_valid: not before it is known to be valid.

        Returns:
            Its path, ``/ipfs/<cid>``, and where it lies now.

        Raises:
            InvalidCID: the text names no file.
            NotFound: nobody connected has it, or not in time.
            NotValid: it is not, and only a valid one was wanted.
            StorageError: it cannot be written.
        """
        root = parse_path(text)
        path = ipfs_path(root)
        if only_valid:
            await self._check_valid(text)
        contributor = await self._store.contributor_of(path)
        target = self._download_dir / str(root)
        try:
            await self._files.get(root, contributor, target, GET_PATIENCE, wrote)
        except CorruptData as error:
            # The damaged block is removed by now: what can be had from peers is as good as new.
            log.error("a block was damaged, fetching it again", path=path, error=str(error))
            await self._files.get(root, contributor, target, GET_PATIENCE, wrote)
        return path, target

    async def _check_valid(self, text: str) -> None:
        answer = await self.is_valid(text)
        record = answer.record
        if not record.valid:
            who = "this node" if record.is_own else f"{record.votes} votes"
            why = f": {record.reason}" if record.reason else ""
            raise NotValid(
                f"{record.path} is {record.verdict}, says {who}{why}; get it without only-valid to see"
            )

    async def is_valid(self, text: str) -> Answer:
        """Whether a file is valid: this node's record, else votes, else its own judgement.

        Raises:
            InvalidCID: the text names no file.
            NotFound: it has to be judged here and nobody connected has it.
        """
        root = parse_path(text)
        return await self._validation.is_valid(root, lambda: self._have(root))

    async def validate(self, text: str) -> Answer:
        """Judges a file here and now; see `is_valid`."""
        root = parse_path(text)
        return await self._validation.validate(root, lambda: self._have(root))

    async def judge(self, text: str) -> None:
        """Judges a file that nobody asked for; see `ValidationService.judge`."""
        root = parse_path(text)
        await self._validation.judge(root, lambda: self._have(root))

    async def _have(self, root: CID) -> None:
        await self._files.fetch(root, await self._store.contributor_of(ipfs_path(root)))

    def check_store(self) -> None:
        """Refuses where there is nothing to add to or to ask.

        Raises:
            NoStore: there is no log yet.
        """
        if self._replication.state is None:
            raise NoStore(
                "this node has no contributions store yet: connect it to a member, or start it with -root"
            )

    # --- full replica --------------------------------------------------------------------------------

    def joined(self, conn: sqlite3.Connection, entries: Sequence[Entry]) -> None:
        """In the transaction of entries that arrived: a full replica wants their files."""
        if self._full_replica:
            want(conn, [entry.contribution.path for entry in entries])

    def wake(self) -> None:
        """Looks at the want queue now."""
        self._wanted.set()

    async def peer_arrived(self) -> None:
        """A new peer may have what nobody had."""
        if self._full_replica:
            await self._pins.retry_now()
            self.wake()

    async def recheck(self) -> None:
        """The database was rebuilt: a full replica looks at all its files again."""
        if self._full_replica:
            await self._pins.recheck()
            await self._pins.want_all()
            self.wake()

    async def run(self) -> None:
        """Fetches what is wanted, for ever; ends when cancelled."""
        if not self._full_replica:
            return
        await self._pins.want_all()
        while True:
            self._wanted = trio.Event()
            due = await self._pins.due(self._now(), FETCHES * 4)
            if due:
                limit = trio.CapacityLimiter(FETCHES)
                async with trio.open_nursery() as nursery:
                    for path, attempts in due:
                        nursery.start_soon(self._fetch, path, attempts, limit)
                continue
            next_due = await self._pins.next_due()
            idle = (
                IDLE
                if next_due is None
                else min(IDLE, max(0.05, next_due - self._environment.now_ns() / 1e9))
            )
            with trio.move_on_after(idle):
                await self._wanted.wait()
                # Entries go first, and not all replicas ask for the file at the same moment.
                await trio.sleep(self._environment.jitter(SPREAD * len(self._replication.agreed)))

    async def _fetch(self, path: str, attempts: int, limit: trio.CapacityLimiter) -> None:
        async with limit:
            try:
                await self._files.fetch(parse_path(path), await self._store.contributor_of(path))
                await self._pins.kept(path)
            except PeersDBError as error:
                delay = RETRY[min(attempts, len(RETRY) - 1)]
                log.info(
                    "a wanted file did not come, tried again", path=path, seconds=delay, error=str(error)
                )
                await self._pins.failed(path, self._now() + delay)

    def _now(self) -> int:
        return self._environment.now_ns() // 10**9


async def _pieces(content: bytes) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(content), PIECE):
        yield content[start : start + PIECE]
