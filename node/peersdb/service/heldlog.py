"""The log that this node holds: which one it is, how much is in it, and when another one takes its place."""

from __future__ import annotations

from collections.abc import Callable

import structlog
import trio

from peersdb.core.manifest import Manifest, decode_manifest
from peersdb.core.reconcile import EMPTY, Fingerprint
from peersdb.core.wire import Hello
from peersdb.errors import InvalidBlock
from peersdb.store.log import LogState, LogStore

log = structlog.get_logger("replication")


class HeldLog:
    """Which log this node holds, if any; of its entries it knows the fingerprint alone.

    Attributes:
        state: the log's address and fingerprint, or None while there is none.
        there: set once there is one.
    """

    def __init__(self, store: LogStore, only: str, on_held: Callable[[LogState], None]) -> None:
        """Nothing is read yet.

        Args:
            store: the database.
            only: the one address this node may hold, or empty for any.
            on_held: called when this node has a log (again, or another one).
        """
        self._store, self._only, self._on_held = store, only, on_held
        self.state: LogState | None = None
        self.there = trio.Event()

    @property
    def address(self) -> str | None:
        """The log's address."""
        return self.state.address if self.state else None

    @property
    def named(self) -> str:
        """The address of the log that this node holds, or of the one it may hold; empty where any is welcome."""
        return self.address or self._only

    @property
    def fingerprint(self) -> Fingerprint:
        """The fingerprint of what is in the log."""
        return self.state.fingerprint if self.state else EMPTY

    @property
    def prevails(self) -> bool:
        """Whether a peer whose log is empty is to give way to this one."""
        return self.state is not None and not self._only

    async def load(self) -> None:
        """Reads which log it is; nothing of its entries."""
        self.state = await self._store.state()
        if self.state is not None:
            self.there.set()
            self._on_held(self.state)

    async def reload(self) -> bool:
        """The database was rebuilt and may hold less: reads it anew. Returns whether the log is lost."""
        before = self.state
        await self.load()
        if self.state is not None and (after := await self._store.state()) is not None:
            self.grew(after.fingerprint)  # what was committed between the two, and told before the first
        if self.state is not None or before is None:
            return False
        self._only = before.address  # peers tell its manifest in their hello
        return True

    async def create(self, manifest: Manifest) -> None:
        """Makes a new, empty log. What this node is the only member of, it is in sync with."""
        await self._store.create(manifest)
        await self._store.mark_synced()
        await self.load()

    async def adopt(self, hello: Hello) -> bool:
        """Takes over a peer's log where this node has none, or an empty one that has to give way."""
        address = hello.address or ""
        if self._only and address != self._only:
            return False
        if self.state is not None:
            # Roots that were started at once each made a log: the empty one yields, of two empty ones the
            # higher address, so that both sides decide alike.
            if self.state.fingerprint.count or self._only:
                return False
            if hello.count == 0 and self.state.address < address:
                return False
        manifest = decode_manifest(hello.manifest, hello.access)
        if manifest.address != address:
            raise InvalidBlock(f"the manifest sent for {address} is that of {manifest.address}")
        await self._store.create(manifest, replace_empty=True)
        await self.load()
        log.info("holds the cluster's log", address=address)
        return True

    def grew(self, fingerprint: Fingerprint) -> None:
        """Entries were committed. Commits may be reported out of order; the count only grows."""
        state = self.state
        if state is not None and fingerprint.count > state.fingerprint.count:
            self.state = LogState(state.address, state.manifest, state.access, fingerprint, state.synced)

    async def mark_synced(self) -> None:
        """Notes that this node was once in sync with a member."""
        state = self.state
        if state is not None and not state.synced:
            self.state = LogState(state.address, state.manifest, state.access, state.fingerprint, synced=True)
            await self._store.mark_synced()

    def hello(self, record: bytes) -> Hello:
        """What a peer is told of it first, with this node's record."""
        state = self.state
        if state is None:
            return Hello(1, None, b"", b"", 0, EMPTY.to_bytes(), record)
        return Hello(
            1,
            state.address,
            state.manifest,
            state.access,
            state.fingerprint.count,
            state.fingerprint.to_bytes(),
            record,
        )
