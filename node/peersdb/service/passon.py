"""Ballots that came from peers, on their way to the others: some together, and to nobody who has them.

Each voter sends its ballots to all its peers at once. Passed on one by one as they come, those of twenty voters on one
file would be twenty messages over each connection of each node. So a node waits a moment, and sends each peer one
message of what neither came from it nor has come from it meanwhile.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

import trio

from peersdb.core.ballots import Ballot
from peersdb.core.wire import MAX_BALLOT_BYTES, MAX_BALLOTS, Ballots
from peersdb.net.sync import SyncLinks
from peersdb.service.environment import Environment

#: Ballots wait so long (seconds, with jitter) for others: about as long as many take to judge a file. Their voters'
#: own peers have them by then.
PASS_ON = 0.75
#: Ballots that came lately, to know their second copies by: those of 500 voters on a page of 16 files.
MAX_RECENT = 8192


class PassOn:
    """What is to be passed on."""

    def __init__(
        self,
        links: SyncLinks,
        agreed: Callable[[], list[str]],
        tell: Callable[[Sequence[str]], None],
        environment: Environment,
    ) -> None:
        """Sends nothing before `run`.

        Args:
            links: to the peers.
            agreed: the connected peers that hold the same log.
            tell: tells peers in one number what is here, so that they ask.
            environment: jitter.
        """
        self._links, self._agreed, self._tell, self._environment = links, agreed, tell, environment
        self._recent: OrderedDict[bytes, None] = OrderedDict()
        self._waiting: dict[bytes, tuple[bytes, set[str]]] = {}
        """By digest: the ballot, and the peers that have it."""

        self._came = trio.Event()

    def sift(self, peer: str, blocks: Iterable[bytes]) -> list[bytes]:
        """Those of a peer's ballots that did not come before."""
        fresh = []
        for block in blocks:
            digest = hashlib.sha256(block).digest()
            if digest not in self._recent:
                fresh.append(block)
            elif digest in self._waiting:
                self._waiting[digest][1].add(peer)
        return fresh

    def came(self, ballots: Sequence[Ballot], source: str) -> None:
        """Ballots are kept now, and go to all but the peer they came from."""
        for ballot in ballots:
            self._remember(ballot)
            self._waiting[ballot.hash] = (ballot.data, {source})
        if ballots:
            self._came.set()

    def cast(self, ballots: Sequence[Ballot]) -> None:
        """Ballots of this node's own go to all peers now."""
        for ballot in ballots:
            self._remember(ballot)
        for peer in self._agreed():
            self._send(peer, [ballot.data for ballot in ballots])

    def forget(self) -> None:
        """What came may be lost here: it is taken again."""
        self._recent.clear()

    async def run(self) -> None:
        """Passes on for ever; ends when cancelled."""
        while True:
            await self._came.wait()
            await trio.sleep(self._environment.jitter(PASS_ON))
            self._came = trio.Event()
            waiting, self._waiting = self._waiting, {}
            for peer in self._agreed():
                self._send(peer, [data for data, having in waiting.values() if peer not in having])

    def _remember(self, ballot: Ballot) -> None:
        self._recent[ballot.hash] = None
        while len(self._recent) > MAX_RECENT:
            self._recent.popitem(last=False)

    def _send(self, peer: str, ballots: Sequence[bytes]) -> None:
        batch: list[bytes] = []
        size = 0
        for data in ballots:
            size += len(data)
            if batch and (size > MAX_BALLOT_BYTES or len(batch) == MAX_BALLOTS):
                break
            batch.append(data)
        if batch:
            self._links.send(peer, Ballots(tuple(batch), live=True, more=False))
        if len(batch) < len(ballots):  # so many are not live any more: the peer asks for the rest
            self._tell([peer])
