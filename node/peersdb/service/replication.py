"""Replication of the log: hello, push, anti-entropy.

Entries are pushed on open streams as they are written or arrive (`service.broadcast`); a push may be lost.
Anti-entropy is the truth: each side says how much it has (count and fingerprint of the set); where that
differs, they exchange version vectors and send each other the gaps, oldest first, a few batches ahead of the
acknowledgements.

A round, as seen by the one who asks::

    we   Vector       what we have of each writer
    peer Entries ...  what we lack, in batches; we answer each with an Ack
    peer Heads        what the peer has: the round is over, we have all that it had
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import structlog
import trio

from peersdb.core.entry import Entry
from peersdb.core.manifest import Manifest
from peersdb.core.reconcile import Fingerprint
from peersdb.core.wire import (
    Ack,
    Ballots,
    Entries,
    Equivocation,
    Graft,
    Have,
    Heads,
    Hello,
    Members,
    Message,
    Prune,
    RangeItems,
    Ranges,
    Vector,
    VoteHeads,
    VoteVector,
    WantEntries,
    WriterAnswer,
    WriterQuery,
)
from peersdb.errors import InvalidBlock, InvalidEntry, InvalidMessage, InvalidRecord, PeersDBError
from peersdb.net.host import Host
from peersdb.net.sync import SyncLinks
from peersdb.service.arrivals import Arrivals, Arrived
from peersdb.service.ballots import BallotBox
from peersdb.service.broadcast import Broadcast
from peersdb.service.catchup import CatchUp
from peersdb.service.environment import Environment
from peersdb.service.heldlog import HeldLog
from peersdb.service.members import Membership
from peersdb.service.ownchain import OwnChain
from peersdb.service.session import BATCH_ENTRIES, Session
from peersdb.store.log import LogState, LogStore

log = structlog.get_logger("replication")

#: So often a node says what it has (seconds, with jitter), so that a lost push is noticed.
DIGEST_INTERVAL = 30.0
#: Wrong entries or records from one peer until it is disconnected.
MAX_FAULTS = 16


class Replication:
    """Keeps this node's log in step with its peers'.

    Attributes:
        has_store: set once this node has a log.
        own_chain: where this node's own entries go on.
        votes: where messages about votes go; set before any peer connects.
        on_pushed: called with entries that are in the log now, and the peer that pushed them.
    """

    def __init__(
        self,
        *,
        key: str,
        host: Host,
        links: SyncLinks,
        store: LogStore,
        arrivals: Arrivals,
        membership: Membership,
        environment: Environment,
        only_store: str,
        on_store: Callable[[LogState], None],
        on_peer: Callable[[], Awaitable[None]],
    ) -> None:
        """Takes over the links; `run` must live for them to work.

        Args:
            key: this node's public key, hex.
            only_store: the one address this node may hold, or empty for any.
            on_store: called when this node has a log (again, or another one).
            on_peer: called when a peer turned out to hold the same log.
        """
        self._host, self._links, self._store, self._arrivals = host, links, store, arrivals
        self._membership, self._environment, self._on_peer = membership, environment, on_peer
        self._held = HeldLog(store, only_store, on_store)
        self.has_store = self._held.there
        self._sessions: dict[str, Session] = {}
        self._broadcast = Broadcast(links, self._sessions, store.known_digests, environment)
        self._catch_up = CatchUp(links, store, lambda: self.state_fingerprint)
        self.own_chain = OwnChain(key, links, store, lambda: self.agreed)
        self.votes: BallotBox
        self.on_pushed: Callable[[Sequence[Entry], str], None] = lambda _entries, _peer: None
        membership.is_useful = self._is_useful
        links.on_open, links.on_close = self._open, self._close
        links.on_message, links.next_live = self._message, self._next_live

    async def load(self) -> None:
        """Reads which log this node holds; nothing of its entries."""
        await self._held.load()

    async def run(self) -> None:
        """Says from time to time what this node has; ends when cancelled."""
        async with trio.open_nursery() as nursery:
            self._catch_up.start(nursery)
            nursery.start_soon(self._broadcast.run)
            while True:
                await trio.sleep(self._environment.jitter(DIGEST_INTERVAL))
                for peer, session in self._sessions.items():
                    if session.agreed:
                        self._links.send(peer, self._catch_up.heads())

    async def create(self, manifest: Manifest) -> None:
        """Makes a new, empty log: a root's first start. What it is the only member of, it is in sync with."""
        await self._held.create(manifest)
        self._say_hello()

    async def reload(self) -> None:
        """The database was rebuilt and may hold less: reads it anew and asks the peers for the rest."""
        lost = await self._held.reload()
        self.own_chain.recheck()
        await self.votes.load()
        if lost:  # the manifest too: peers tell it in their hello
            for peer in list(self._sessions):
                await self._host.disconnect(peer)
        for peer, session in list(self._sessions.items()):
            if session.agreed:
                session.asked = session.differs = False
                self._links.send(peer, self._catch_up.heads())
                await self._compare(session, *session.said, ask=True)
                self.votes.greet(peer)

    @property
    def in_sync(self) -> bool:
        """Whether there are peers, and all of them were last seen to have what this node has."""
        ours = self._catch_up.heads()
        said = [session.said for session in self._sessions.values() if session.agreed]
        return bool(said) and all(one == (ours.count, ours.fingerprint) for one in said)

    def want(self, digests: Sequence[bytes]) -> None:
        """Asks all peers for entries by their digests, with their identities."""
        for peer in self.agreed:
            self._links.send(peer, WantEntries(tuple(digests)))

    def _is_useful(self, peer: str) -> bool:
        session = self._sessions.get(peer)
        return session is None or not session.agreed or session.is_useful

    @property
    def agreed(self) -> list[str]:
        """The connected peers that hold the same log."""
        return [peer for peer, session in self._sessions.items() if session.agreed]

    @property
    def ready(self) -> str:
        """Empty when this node has a log and has once been in sync with a member; else why it is not ready."""
        if self.state is None:
            return "no contributions store yet: waiting for a member to connect to"
        if not self.state.synced:
            return "catching up: not yet in sync with any member"
        return ""

    def publish(self, entries: Sequence[Entry], fingerprint: Fingerprint, source: str | None = None) -> None:
        """Spreads entries that are in the log now; ``source`` is the peer they came from."""
        self._held.grew(fingerprint)
        self._broadcast.spread(entries, source)

    # --- sessions ----------------------------------------------------------------------------------

    async def _open(self, peer: str) -> None:
        old = self._sessions.get(peer)
        session = self._sessions[peer] = Session(peer)
        if old is not None:  # our stream broke; theirs may stand, and they need not say hello again
            old.scope.cancel()
            session.agreed = old.agreed
        self.own_chain.peers_changed()
        self._links.send(peer, self._held.hello(self._membership.own_record.data))
        if session.agreed:
            self._membership.greet(peer)
            self.votes.greet(peer)
        self._membership.wake()

    def _close(self, peer: str) -> None:
        session = self._sessions.pop(peer, None)
        if session is not None:
            session.scope.cancel()
            self._broadcast.gone(peer)
        self.votes.gone(peer)
        self.own_chain.peers_changed()
        self._membership.wake()

    async def _next_live(self, peer: str) -> Message | None:
        session = self._sessions.get(peer)
        if session is None or not session.agreed:
            return None
        batch, overflowed = session.take()
        if overflowed:
            return self._catch_up.heads()  # some pushes were dropped: let the peer find out what it lacks
        if not batch:
            return None
        identities = []
        for hash_ in session.new_identities(batch):
            block = await self._store.known_identity(hash_)
            if block is not None:
                identities.append(block)
        return Entries(tuple(entry.data for entry in batch), tuple(identities), live=True, seq=0)

    # --- messages ----------------------------------------------------------------------------------

    async def _message(self, peer: str, message: Message) -> None:
        session = self._sessions.get(peer)
        if session is None:  # the peer is gone
            return
        try:
            match message:
                case Hello():
                    await self._on_hello(session, message)
                case Members():
                    # Before, it may be another cluster's; ours are told again after the hello.
                    if session.agreed:
                        await self._membership.learn(peer, message.records)
                case Entries():
                    await self._on_entries(session, message)
                case Ack():
                    session.acknowledged(message.seq)
                    await self._compare(session, message.count, message.fingerprint, ask=False)
                case Heads():
                    await self._on_heads(session, message)
                case Have() | Prune() | Graft():
                    await self._broadcast.on_message(session, message)
                case Vector() | Ranges() | RangeItems() | WantEntries():
                    await self._on_comparison(session, message)
                case WriterQuery() | WriterAnswer():
                    await self.own_chain.on_message(peer, message)
                case _:
                    await self._on_votes(session, message)
        except (InvalidEntry, InvalidRecord, InvalidBlock) as error:
            await self._fault(session, error)

    async def _on_hello(self, session: Session, hello: Hello) -> None:
        if hello.address not in (None, self._held.address) and not await self._adopt(hello):
            if self._held.prevails and not hello.count:
                session.agreed = False  # an empty log: its holder gives way once our hello is there
                self.own_chain.peers_changed()
                return
            self._membership.forget(session.peer)
            log.warning(
                "another cluster's peer, disconnected",
                peer=session.peer,
                theirs=hello.address,
                ours=self._held.named,
            )
            await self._host.disconnect(session.peer)
            return
        if hello.record:
            await self._membership.learn(session.peer, [hello.record])
        if hello.address is None:
            return
        if not session.agreed:
            session.agreed = True
            self.own_chain.peers_changed()
            self._membership.greet(session.peer)
            await self._on_peer()
            self.votes.greet(session.peer)
        session.asked = session.differs = False  # the stream that would have brought the answer is gone
        ours = self.state_fingerprint
        session.is_useful |= (hello.count, hello.fingerprint) != (ours.count, ours.to_bytes())
        await self._compare(session, hello.count, hello.fingerprint, ask=True)

    async def _adopt(self, hello: Hello) -> bool:
        """Takes over the peer's log where this node has none, or an empty one that has to give way."""
        adopted = await self._held.adopt(hello)
        if adopted:
            self._say_hello()
        return adopted

    async def _on_heads(self, session: Session, heads: Heads) -> None:
        if session.asked:
            session.asked = False
            await self._held.mark_synced()
        await self._compare(session, heads.count, heads.fingerprint, ask=True)

    async def _compare(self, session: Session, count: int, fingerprint: bytes, *, ask: bool) -> None:
        """Compares what the peer has with what is here, and asks for the difference."""
        session.said = (count, fingerprint)
        if self.state is None or not session.agreed:
            return
        ours = self.state.fingerprint
        if (count, fingerprint) == (ours.count, ours.to_bytes()):
            self._catch_up.equal(session)
            await self._held.mark_synced()
        elif ask:
            far = not self.state.synced or abs(count - ours.count) > BATCH_ENTRIES
            self._catch_up.differs(session, soon=far and not session.fruitless)

    async def _take(self, session: Session, message: Entries, address: str) -> Arrived:
        """What became of entries; of those that did not come into the log other copies are taken again."""
        accepted: Sequence[Entry] = ()
        try:
            arrived = await self._arrivals.take(session.peer, message, address)
            accepted = arrived.accepted
        finally:
            self._broadcast.failed(message.entries, accepted)
        return arrived

    async def _on_entries(self, session: Session, message: Entries) -> None:
        state = self.state
        if state is None or not session.agreed:
            raise InvalidMessage("entries came before the hello")
        if message.live:
            message = self._broadcast.sift(session, message)
            if not message.entries and not self._arrivals.lacking:
                return
        arrived = await self._take(session, message, state.address)
        self._held.grew(arrived.fingerprint or self.state_fingerprint)
        if arrived.accepted and arrived.fingerprint is not None:
            session.fruitless = 0
            self.publish(arrived.accepted, arrived.fingerprint, source=session.peer)
            if message.live:
                self.on_pushed(arrived.accepted, session.peer)
        if message.live:
            if arrived.incomplete and not session.asked:
                self._catch_up.differs(session, soon=True)
        else:
            fingerprint = self.state_fingerprint
            self._links.send(session.peer, Ack(message.seq, fingerprint.count, fingerprint.to_bytes()))
        for error in arrived.faults:
            await self._fault(session, error)

    async def _on_comparison(
        self, session: Session, message: Vector | Ranges | RangeItems | WantEntries
    ) -> None:
        if not session.agreed:
            raise InvalidMessage(f"{type(message).__name__} came before the hello")
        await self._catch_up.on_message(session, message)

    async def _on_votes(self, session: Session, message: Message) -> None:
        if not isinstance(message, VoteHeads | VoteVector | Ballots | Equivocation):
            raise InvalidMessage(f"{type(message).__name__} does not belong on a sync stream")
        if not session.agreed:
            raise InvalidMessage(f"{type(message).__name__} came before the hello")
        await self.votes.on_message(session.peer, message)

    async def _fault(self, session: Session, error: PeersDBError) -> None:
        session.faults += 1
        log.warning("a peer sent something wrong", peer=session.peer, code=error.code, error=str(error))
        if session.faults >= MAX_FAULTS:
            log.warning("too much was wrong, disconnected", peer=session.peer, faults=session.faults)
            await self._host.disconnect(session.peer)

    # --- state -------------------------------------------------------------------------------------

    @property
    def state(self) -> LogState | None:
        """The log's address and fingerprint, or None while this node has no log."""
        return self._held.state

    @property
    def state_fingerprint(self) -> Fingerprint:
        """The fingerprint of what is in the log."""
        return self._held.fingerprint

    def _say_hello(self) -> None:
        """This node has another log now: tells all."""
        for peer in self._sessions:
            self._links.send(peer, self._held.hello(self._membership.own_record.data))
