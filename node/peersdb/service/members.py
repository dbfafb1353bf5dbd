"""Who belongs to the cluster, where they are, and how many of them this node is connected to.

Each member signs a record of its addresses; records are passed on, newest first, and kept on disk, so that a
node finds the others again while every root is down. A node keeps up to `TARGET` connections; the bootstrap
peers are asked only as long as it has none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog
import trio

from peersdb.core.identity import Signer
from peersdb.core.records import MAX_ADDRS, MemberRecord, create_record, decode_record
from peersdb.core.wire import MAX_RECORDS, Members
from peersdb.errors import InvalidRecord, PeersDBError
from peersdb.net.host import Host
from peersdb.net.sync import SyncLinks
from peersdb.service.environment import Environment
from peersdb.store.tables import Members as MemberTable

log = structlog.get_logger("members")

#: Connections kept: enough that a random graph of a thousand nodes is connected even if a third of them die.
TARGET = 12
#: Dials on the way at once.
DIALS = 4
#: Looks for missing connections so often (seconds), and at once when something changes.
INTERVAL = 5.0
#: Waits after failed dials, seconds; the last one stays, but for a node that has too few connections: where many start
#: at once, it dialled those in vain that were not there yet, and they have found others meanwhile.
BACKOFF = (1.0, 2.0, 5.0, 15.0, 60.0, 300.0)
LONELY_BACKOFF = 15.0
#: A node with enough connections dials one more member so often (seconds), unless it has so many: two groups, each
#: connected well enough within itself (after a long cut, say), would never find each other else. Where that finds
#: nothing new, the waits double up to the last one.
EXPLORE, EXPLORE_LEAST, PLENTY = 30.0, 600.0, 2 * TARGET
#: A connection that is of no use after so long (seconds) is given up again: each costs pings, and a message an entry.
EXPLORED = 5.0
#: Waits between rounds over the bootstrap peers, seconds; the last one stays.
BOOTSTRAP_BACKOFF = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
#: A record from further ahead than this (nanoseconds) would outlive its member's next ones.
MAX_AHEAD_NS = 600 * 10**9

Resolve = Callable[[str], Awaitable[Sequence[str]]]


@dataclass
class _Dial:
    """How dialling a member went so far."""

    attempts: int = 0
    not_before: float = 0.0


class Membership:
    """The members this node knows, and its connections to them."""

    def __init__(
        self,
        *,
        signer: Signer,
        host: Host,
        links: SyncLinks,
        table: MemberTable,
        environment: Environment,
        bootstrap: Sequence[str],
        resolve: Resolve,
        announce: Sequence[str],
        root: bool,
        region: str,
    ) -> None:
        """Nothing happens before `run`.

        Args:
            bootstrap: peers as the user named them.
            resolve: makes multiaddrs of such a name, by asking it.
            announce: multiaddrs to be told to others, in place of the listening ones.
        """
        self._signer, self._host, self._links, self._table = signer, host, links, table
        self._environment = environment
        self._bootstrap, self._resolve = tuple(bootstrap), resolve
        self._announce, self._root, self._region = tuple(announce), root, region
        self._known: dict[str, MemberRecord] = {}
        self._dials: dict[str, _Dial] = {}
        self._anchors: dict[str, str] = {}
        """Peer ids of the bootstrap peers that were reached, by their names."""

        self.is_useful: Callable[[str], bool] = lambda _peer: True
        """Whether a peer had something else than this node when it was met, or entries went over the connection."""

        self._wake = trio.Event()
        self._own: MemberRecord | None = None

    @property
    def addresses(self) -> list[str]:
        """This node's addresses as others shall dial them, with its peer id."""
        suffix = f"/p2p/{self._host.peer_id}"
        return [
            address if "/p2p/" in address else address + suffix
            for address in self._announce or self._host.addresses
        ][:MAX_ADDRS]

    @property
    def own_record(self) -> MemberRecord:
        """This node's record, signed anew when its addresses change."""
        addresses = tuple(self.addresses)
        if self._own is None or self._own.addrs != addresses:
            self._own = create_record(
                self._signer, addresses, self._environment.now_ns(), self._root, self._region
            )
        return self._own

    @property
    def count(self) -> int:
        """How many other members are known."""
        return len(self._known)

    def record(self, peer: str) -> MemberRecord | None:
        """What is known of a member."""
        return self._known.get(peer)

    async def load(self) -> None:
        """Reads the members known from before."""
        for data in await self._table.load():
            try:
                record = decode_record(data)
            except InvalidRecord as error:  # the disk: the member itself will tell it again
                log.warning("a member's record is damaged", error=str(error))
                continue
            self._known[record.peer_id] = record

    async def run(self) -> None:
        """Keeps the node connected; ends when cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run_bootstrap)
            nursery.start_soon(self._explore)
            while True:
                self._wake = trio.Event()
                await self._fill()
                with trio.move_on_after(self._environment.jitter(INTERVAL)):
                    await self._wake.wait()

    def forget(self, peer: str) -> None:
        """Gives up a member that turned out to be another cluster's."""
        self._known.pop(peer, None)

    def greet(self, peer: str) -> None:
        """Tells a peer of other members: the newest, as many as fit one message."""
        records = sorted(self._known.values(), key=lambda record: -record.seq)[:MAX_RECORDS]
        others = tuple(record.data for record in records if record.peer_id != peer)
        if others:
            self._links.send(peer, Members(others))

    async def learn(self, source: str, data: Iterable[bytes]) -> None:
        """Takes in records that a peer sent, keeps the newer ones and passes them on.

        Raises:
            InvalidRecord: one is malformed or not signed by its member.
        """
        fresh = []
        for raw in data:
            record = decode_record(raw)
            if record.seq > self._environment.now_ns() + MAX_AHEAD_NS:
                raise InvalidRecord(f"the record of {record.peer_id} is from the future")
            known = self._known.get(record.peer_id)
            if record.peer_id != self._host.peer_id and (known is None or record.seq > known.seq):
                fresh.append(record)
        if not fresh:
            return
        for record in fresh:
            self._known[record.peer_id] = record
            self._dials.pop(record.peer_id, None)
        await self._table.keep(fresh)
        for peer in self._links.peers:
            if peer != source:
                self._links.send(peer, Members(tuple(record.data for record in fresh[:MAX_RECORDS])))
        self.wake()

    def wake(self) -> None:
        """Looks for missing connections now: something changed."""
        self._wake.set()

    async def connect(self, peer: str) -> bool:
        """Dials a known member now; says whether it is connected."""
        if peer in self._host.connected:
            return True
        record = self._known.get(peer)
        for address in record.addrs if record else ():
            try:
                await self._host.dial(address)
            except PeersDBError as error:
                log.debug("dial failed", peer=peer, address=address, error=str(error))
            else:
                return True
        return False

    def _is_adrift(self) -> bool:
        """Whether there are few connections, or none, and none to a bootstrap peer: a few may be an island."""
        connected = self._host.connected
        return len(connected) < TARGET and not any(peer in connected for peer in self._anchors.values())

    async def try_bootstrap(self) -> bool:
        """One round over the bootstrap peers; says whether one of them is connected now."""
        reached = False
        for name in self._bootstrap:
            try:
                for address in [name] if name.startswith("/") else await self._resolve(name):
                    if not address.endswith(f"/p2p/{self._host.peer_id}"):
                        self._anchors[name] = await self._host.dial(address)
                        reached = True
                        break
            except PeersDBError as error:
                tell = log.debug if self._host.connected else log.info  # with peers it is no news for anybody
                tell("bootstrap peer not reached", peer=name, error=str(error))
        return reached

    async def _run_bootstrap(self) -> None:
        attempt = 0
        while self._bootstrap:
            if self._is_adrift():
                # Success counts once it is seen to last: a peer of another cluster lets itself be dialled too.
                await self.try_bootstrap()
                delay = BOOTSTRAP_BACKOFF[min(attempt, len(BOOTSTRAP_BACKOFF) - 1)]
                attempt += 1
            else:
                attempt, delay = 0, INTERVAL
            await trio.sleep(self._environment.jitter(delay))

    async def _fill(self) -> None:
        """Dials members until there are enough connections or nobody is left to try."""
        connected = set(self._host.connected)
        now = trio.current_time()
        if len(connected) < TARGET:
            soon = now + LONELY_BACKOFF
            for dial in self._dials.values():
                dial.not_before = min(dial.not_before, soon)
        for peer in connected & self._dials.keys():
            if self._dials[peer].not_before <= now:  # it outlasted the wait that a loss would have cost
                del self._dials[peer]
        candidates = [
            peer
            for peer in self._known
            if peer not in connected and self._dials.setdefault(peer, _Dial()).not_before <= now
        ]
        self._environment.random.shuffle(candidates)
        limit = trio.CapacityLimiter(DIALS)
        async with trio.open_nursery() as nursery:
            for peer in candidates[: max(0, TARGET - len(connected))]:
                nursery.start_soon(self._try, peer, limit)

    async def _explore(self) -> None:
        """Dials one member more from time to time."""
        delay = EXPLORE
        while True:
            await trio.sleep(self._environment.jitter(delay))
            longer, delay = min(2 * delay, EXPLORE_LEAST), EXPLORE
            connected = set(self._host.connected)
            others = sorted(self._known.keys() - connected)
            if others and TARGET <= len(connected) < PLENTY:
                peer = self._environment.random.choice(others)
                if await self.connect(peer):
                    await trio.sleep(EXPLORED)
                    if not self.is_useful(peer):
                        delay = longer
                        if len(self._host.connected) > TARGET:
                            await self._host.disconnect(peer)

    async def _try(self, peer: str, limit: trio.CapacityLimiter) -> None:
        async with limit:
            state = self._dials.setdefault(peer, _Dial())
            delay = BACKOFF[min(state.attempts, len(BACKOFF) - 1)]
            # Counted whether it succeeds or not, or a peer that hangs up at once would be dialled without end.
            state.attempts += 1
            await self.connect(peer)
            state.not_before = trio.current_time() + self._environment.jitter(delay)
