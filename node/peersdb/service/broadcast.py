"""Which peers an entry is pushed to, and which are only told that it is there: an epidemic broadcast tree.

Pushed to all, an entry would reach each node once over every connection: the work grows with the connections, not with
the nodes. So a node that gets an entry a second time asks its sender not to push that writer's entries any more
(`Prune`, some together, so that it is not itself a flood), and what stays of the connections is a tree, for each writer
its own: the ways by which its entries came first. Over the others entries are announced, some at a time (`Have`); what
was announced and does not come is fetched (`WantEntries`), and pushed by that peer again (`Graft`), as all are when one
of them leaves.

After Leitão, Pereira, Rodrigues: Epidemic Broadcast Trees (SRDS 2007), with a tree for each writer in the place of one
for all: over long distances that keeps the way of every entry the shortest there is.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import trio

from peersdb.core.entry import Entry
from peersdb.core.wire import MAX_ENTRIES, MAX_ITEMS, Entries, Graft, Have, Prune, WantEntries
from peersdb.net.sync import SyncLinks
from peersdb.service.environment import Environment
from peersdb.service.session import Session

#: Entries are announced, second copies declined, and what did not come is fetched so often (seconds, with jitter).
INTERVAL = 0.5
#: How far the peers are is looked up so often (seconds): as often as they are pinged.
MEASURE = 5.0
#: Entries that came lately, to know their second copies by; those of minutes under any load that a node bears.
MAX_RECENT = 8192
#: Announced entries that are awaited; beyond, anti-entropy brings them.
MAX_AWAITED = 4096
#: Pushes that were on the way when a peer was asked to stop end within so long (seconds); then it is asked again.
PRUNE_AGAIN = 5.0

#: In the place of a peer: this node itself.
OWN = ""


@dataclass(slots=True)
class _Seen:
    """An entry that came lately.

    Attributes:
        writer: its key; None until it is checked.
        parent: who pushed it first; None where nobody did.
        others: who pushed it too before it was checked.
    """

    writer: str | None
    parent: str | None
    others: list[str] = field(default_factory=list)


class Broadcast:
    """The trees, as far as this node is part of them."""

    def __init__(
        self,
        links: SyncLinks,
        sessions: Mapping[str, Session],
        known: Callable[[Sequence[bytes]], Awaitable[set[bytes]]],
        environment: Environment,
    ) -> None:
        """Works while `run` does.

        Args:
            links: to the peers.
            sessions: by peer id.
            known: which of these digests are in the log.
            environment: jitter.
        """
        self._links, self._sessions, self._known = links, sessions, known
        self._environment = environment
        self._recent: OrderedDict[bytes, _Seen] = OrderedDict()
        self._measured = float("-inf")
        self._late: dict[str, dict[str, None]] = {}
        """Writers whose entries came from a peer a second time."""

        self._awaited: OrderedDict[bytes, str] = OrderedDict()
        """Announced, by whom, and not here when it was."""

    async def run(self) -> None:
        """Announces and fetches for ever; ends when cancelled."""
        while True:
            due = list(self._awaited.items())
            await trio.sleep(self._environment.jitter(INTERVAL))
            self._measure()
            self._prune()
            self._announce()
            self._fetch(due)

    def _measure(self) -> None:
        if trio.current_time() >= self._measured + MEASURE:
            self._measured = trio.current_time()
            for session in self._sessions.values():
                session.round_trip = self._links.round_trip(session.peer)

    # --- entries ---------------------------------------------------------------------------------------

    def spread(self, entries: Sequence[Entry], source: str | None) -> None:
        """Pushes or announces entries that are in the log now.

        Args:
            entries: new here.
            source: the peer they came from; None: written here.
        """
        for entry in entries:
            digest = entry.digest
            seen = self._recent.get(digest)
            if seen is None:
                self._remember(digest, _Seen(entry.key, OWN if source is None else None))
            else:
                seen.writer = entry.key
                for peer in seen.others:
                    self._is_late(peer, entry.key)
                seen.others.clear()
            self._awaited.pop(digest, None)
        self._links.wake(
            [
                session.peer
                for session in sorted(self._sessions.values(), key=lambda session: -session.round_trip)
                if session.peer != source and session.agreed and session.push(entries)
            ]
        )

    def sift(self, session: Session, message: Entries) -> Entries:
        """Leaves of a pushed message what did not come lately, and asks its sender to stop what did."""
        fresh = []
        for block in message.entries:
            digest = digest_of(block)
            session.has(digest)
            seen = self._recent.get(digest)
            if seen is None:
                self._remember(digest, _Seen(None, session.peer))
                fresh.append(block)
            elif self._is_closer(seen.parent, session.peer):
                if seen.writer is not None:
                    self._is_late(session.peer, seen.writer)
                elif session.peer not in seen.others:
                    seen.others.append(session.peer)
        session.is_useful |= bool(fresh)
        return replace(message, entries=tuple(fresh))

    def failed(self, blocks: Iterable[bytes], accepted: Iterable[Entry]) -> None:
        """Tells which entries of a message came into the log: copies of the others are not second ones."""
        kept = {entry.digest for entry in accepted}
        for block in blocks:
            digest = digest_of(block)
            if digest not in kept:
                self._recent.pop(digest, None)

    def gone(self, peer: str) -> None:
        """A peer has left: if entries came by it first, they are to come from all again."""
        if any(seen.parent == peer for seen in self._recent.values()):
            for session in self._sessions.values():
                self._graft(session)

    # --- messages --------------------------------------------------------------------------------------

    async def on_message(self, session: Session, message: Have | Prune | Graft) -> None:
        """What a peer says of the tree."""
        match message:
            case Prune():  # it gets these writers' entries sooner from others
                session.announce_only(message.writers)
            case Graft():
                session.push_all()
            case Have() if session.agreed:  # before, it may speak of another log
                await self._on_have(session, message.digests)

    async def _on_have(self, session: Session, digests: Sequence[bytes]) -> None:
        for digest in digests:
            session.has(digest)
        unseen = [digest for digest in digests if digest not in self._recent]
        lacking = set(unseen) - await self._known(unseen) if unseen else set()
        for digest in unseen:
            if digest in lacking and len(self._awaited) < MAX_AWAITED:
                self._awaited.setdefault(digest, session.peer)

    # --- the tree --------------------------------------------------------------------------------------

    def _remember(self, digest: bytes, seen: _Seen) -> None:
        self._recent[digest] = seen
        while len(self._recent) > MAX_RECENT:
            self._recent.popitem(last=False)

    def _is_closer(self, parent: str | None, peer: str) -> bool:
        return parent is not None and parent != peer and (parent == OWN or parent in self._sessions)

    def _is_late(self, peer: str, writer: str) -> None:
        writers = self._late.setdefault(peer, {})
        if len(writers) < MAX_ENTRIES:
            writers[writer] = None

    def _prune(self) -> None:
        late, self._late = self._late, {}
        now = trio.current_time()
        for peer, writers in late.items():
            session = self._sessions.get(peer)
            if session is None:
                continue
            asked = tuple(
                writer for writer in writers if now >= session.pruned.get(writer, float("-inf")) + PRUNE_AGAIN
            )
            if asked:
                session.pruned.update(dict.fromkeys(asked, now))
                self._links.send(peer, Prune(asked))

    def _graft(self, session: Session) -> None:
        if session.pruned and session.agreed:
            session.pruned.clear()
            self._links.send(session.peer, Graft())

    def _announce(self) -> None:
        for peer, session in self._sessions.items():
            digests = session.announcements(MAX_ITEMS)
            if digests:
                self._links.send(peer, Have(tuple(digests)))

    def _fetch(self, due: Sequence[tuple[bytes, str]]) -> None:
        """Asks for what was announced before the last wait and has not come."""
        wanted: dict[str, list[bytes]] = {}
        for digest, peer in due:
            if self._awaited.pop(digest, None) is not None and digest not in self._recent:
                wanted.setdefault(peer, []).append(digest)
        for peer, digests in wanted.items():
            session = self._sessions.get(peer)
            if session is not None and session.agreed:
                self._links.send(peer, WantEntries(tuple(digests[:MAX_ITEMS])))
                self._graft(session)


def digest_of(block: bytes) -> bytes:
    """The sha2-256 of an entry's block, as its CID has it."""
    return hashlib.sha256(block).digest()
