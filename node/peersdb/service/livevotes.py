"""Votes that are not here yet: those who have not voted are asked, while what others tell goes on arriving."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog
import trio

from peersdb.core.ballots import decode_ballot, log_hash, verify
from peersdb.core.cid import CID, ipfs_path
from peersdb.core.quorum import count, decide, verdict_of
from peersdb.core.wire import VALIDATION_PROTOCOL, Message, VoteAnswer, VoteRequest
from peersdb.errors import InvalidMessage, InvalidRecord, PeersDBError
from peersdb.net.ask import ask
from peersdb.net.host import Host
from peersdb.store.ballots import BallotStore, Said

log = structlog.get_logger("validation")

#: Votes are waited for so long (seconds); then the node judges the file itself.
DEADLINE = 2.0
#: Peers asked at once.
ASK_AT_ONCE = 16
#: Asked besides those that would be enough: some may be slow, and some find otherwise.
SPARE = 2
#: Those who have not answered after so long (seconds) may never, and all others are asked too: the farthest round trip
#: and what it takes to judge a file.
PATIENCE = 0.6
#: What arrived meanwhile is looked at so often (seconds): a small part of a second, for one row of an index each.
LOOK = 0.05


@dataclass
class _Round:
    """Who has answered, and who is to be asked next.

    Attributes:
        found: voter → verdict.
        silent: who was not asked yet, in their order.
        weights: the electorate.
        percent: a side needs more than this share of it.
        asked: who was asked and has not answered.
    """

    found: dict[str, str]
    silent: list[str]
    weights: Mapping[str, int]
    percent: int
    asked: list[str] = field(default_factory=list)

    def final(self, hoped: Iterable[str] = ()) -> bool:
        """Whether nothing can change the outcome, once these have voted too and found the file valid."""
        votes = {**dict.fromkeys(hoped, "valid"), **self.found}
        return decide(count(votes, self.weights), self.percent).final

    def answered(self, peer: str, verdict: str) -> None:
        """A peer's verdict, or that it has none."""
        self.asked.remove(peer)
        if verdict:
            self.found.setdefault(peer, verdict)

    def next(self) -> list[str]:
        """Who is to be asked now, so that it is enough even if `SPARE` of them find nothing."""
        chosen = []
        while self.silent and not self.final(self.asked[SPARE:]):
            peer = self.silent.pop(0)
            if peer not in self.found:
                chosen.append(peer)
                self.asked.append(peer)
        return chosen

    def rest(self) -> list[str]:
        """All who were not asked yet."""
        chosen = [peer for peer in self.silent if peer not in self.found]
        self.silent.clear()
        self.asked += chosen
        return chosen


class LiveVotes:
    """Asks connected voters."""

    def __init__(
        self, *, host: Host, store: BallotStore, address: Callable[[], str | None], percent: int
    ) -> None:
        """Asks nobody yet.

        Args:
            host: connections.
            store: everybody's votes.
            address: of the log that this node holds.
            percent: a side needs more than this share of the electorate's weight.
        """
        self._host, self._store, self._address, self._percent = host, store, address, percent

    async def top_up(
        self, root: CID, votes: Mapping[str, str], weights: Mapping[str, int]
    ) -> tuple[dict[str, str], list[Said]]:
        """The votes on a file with those that voters cast when asked, or that arrived meanwhile.

        Asks the nearest first, and no more than may be needed: who is asked judges the file. Ends when the outcome
        cannot change any more, all have answered, or time is up.

        Args:
            root: the file.
            votes: those that are here: voter → verdict.
            weights: the electorate.

        Returns:
            Voter → verdict, and those who were asked with what they say.
        """
        said: list[Said] = []
        silent = [peer for peer in self._host.connected if peer in weights and peer not in votes]
        silent.sort(key=self._host.round_trip)
        round_ = _Round(dict(votes), silent, weights, self._percent)
        limit = trio.CapacityLimiter(ASK_AT_ONCE)
        with trio.move_on_after(DEADLINE) as time:
            async with trio.open_nursery() as looking:
                async with trio.open_nursery() as asking:

                    async def collect(peer: str) -> None:
                        async with limit:
                            vote = await self._vote_of(peer, root)
                        if vote is not None:
                            said.append(vote)
                        round_.answered(peer, vote.verdict if vote is not None else "")
                        if round_.final():
                            time.cancel()
                        start(round_.next())

                    async def look() -> None:
                        began = trio.current_time()
                        while not round_.final():
                            await trio.sleep(LOOK)
                            round_.found.update(await self._store.verdicts(ipfs_path(root)))
                            if trio.current_time() > began + PATIENCE:
                                start(round_.rest())
                        time.cancel()

                    def start(peers: Sequence[str]) -> None:
                        for peer in peers:
                            asking.start_soon(collect, peer)

                    looking.start_soon(look)
                    start(round_.next())
                looking.cancel_scope.cancel()
        return round_.found, said

    async def _vote_of(self, peer: str, root: CID) -> Said | None:
        """What a peer itself says of this file."""
        try:
            answer = await ask(self._host, peer, VALIDATION_PROTOCOL, VoteRequest(bytes(root)), DEADLINE)
            return await self._said_in(answer, peer, root)
        except InvalidRecord as error:
            log.warning(
                "a peer sent a vote that does not count", peer=peer, path=ipfs_path(root), error=str(error)
            )
            return None
        except PeersDBError as error:
            log.info("no vote from a peer", peer=peer, path=ipfs_path(root), error=str(error))
            return None

    async def _said_in(self, answer: Message, peer: str, root: CID) -> Said | None:
        if not isinstance(answer, VoteAnswer):
            raise InvalidMessage(f"peer {peer} answered {type(answer).__name__} for its vote")
        if not answer.ballot:
            return None
        ballot = decode_ballot(answer.ballot)
        votes = tuple(vote for vote in ballot.votes if vote.cid == root)
        address = self._address()
        if ballot.peer_id != peer or not votes or not address or ballot.log != log_hash(address):
            raise InvalidRecord(f"a vote of {ballot.peer_id} that is not its own on this file")
        await trio.to_thread.run_sync(verify, ballot)
        return Said(peer, verdict_of(vote.verdict for vote in votes), votes, ballot.ts)
