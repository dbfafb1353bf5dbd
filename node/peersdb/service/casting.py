"""This node's own votes, on their way into the chain of its ballots."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import structlog
import trio

from peersdb.core.ballots import MAX_VALIDATORS, MAX_VOTES, Ballot, Vote, create_ballot, log_hash
from peersdb.core.identity import Signer
from peersdb.errors import StorageError
from peersdb.service.environment import Environment
from peersdb.store.ballots import MAX_EPOCHS, BallotStore

log = structlog.get_logger("votes")

#: Votes wait so long (seconds) for others to share their ballot and its signature.
GATHER = 0.1
#: Judgements that wait at most; who judges faster than the disk takes them waits.
MAX_WAITING = 4096
#: Votes that the disk did not take are tried again after so long (seconds).
AGAIN = 2.0


class _Waiting(NamedTuple):
    """A judgement that waits to be cast; urgent: somebody waits for it."""

    votes: Sequence[Vote]
    done: trio.Event
    urgent: bool


class Casting:
    """The votes that wait to be cast."""

    def __init__(
        self,
        *,
        signer: Signer,
        store: BallotStore,
        environment: Environment,
        address: Callable[[], str | None],
        kept: Callable[[Ballot], Awaitable[None]],
        tell: Callable[[Sequence[Ballot]], None],
    ) -> None:
        """Casts nothing before `run`.

        Args:
            signer: this node's identity.
            store: the ballots.
            environment: time and jitter.
            address: of the log that this node holds.
            kept: hears of each ballot once it is in the store.
            tell: tells the peers of ballots.
        """
        self._signer, self._store, self._environment, self._address = signer, store, environment, address
        self._kept, self._tell = kept, tell
        self._epoch = 0
        self._last = 0
        self._votes, self._waiting = trio.open_memory_channel[_Waiting](MAX_WAITING)

    async def cast(self, votes: Sequence[Vote], *, wait: bool) -> None:
        """As `BallotBox.cast`."""
        done = trio.Event()
        await self._votes.send(_Waiting(votes, done, urgent=wait))
        if wait:
            await done.wait()

    async def run(self) -> None:
        """Casts what waits, for ever; ends when cancelled."""
        async for first in self._waiting:
            waiting = await self._gather(first)
            while not await self._cast_now([one.votes for one in waiting]):  # noqa: ASYNC110 - it is no event
                await trio.sleep(self._environment.jitter(AGAIN))
            for one in waiting:
                one.done.set()

    async def _gather(self, first: _Waiting) -> list[_Waiting]:
        """What shares a ballot with this: what waits already, and where nobody waits for it, what comes in a moment."""
        waiting, count = [first], len(first.votes)
        with trio.move_on_after(GATHER):
            while count < MAX_VOTES:
                try:
                    following = self._waiting.receive_nowait()
                except trio.WouldBlock:
                    if any(one.urgent for one in waiting):
                        break
                    following = await self._waiting.receive()
                waiting.append(following)
                count += len(following.votes)
        return waiting

    async def _cast_now(self, judgements: Sequence[Sequence[Vote]]) -> bool:
        """Casts these and tells the peers; says whether the disk let it."""
        address = self._address()
        if address is None:  # nobody could be told
            return True
        try:
            ballots = await self._say_again(address) if not self._epoch else []
            for votes in _packed(judgements):
                ballots.append(await self._cast(votes, address))
        except StorageError as error:
            log.error("votes could not be cast, tried again", code=error.code, error=str(error))
            return False
        self._tell(ballots)
        return True

    async def _cast(self, votes: Sequence[Vote], address: str) -> Ballot:
        def make(seq: int, prev: bytes) -> Ballot:
            return create_ballot(
                self._signer,
                log_hash(address),
                epoch=self._epoch,
                seq=seq,
                prev=prev,
                ts=self._environment.now_ns(),
                votes=votes,
            )

        # Each run begins a chain, and so does one whose end was lost: no place is ever given twice.
        ballot = None
        if self._epoch:
            ballot = await self._store.cast(make, self._signer.public_key, self._epoch, self._last)
        while ballot is None:
            self._epoch = max(self._environment.now_ns(), self._epoch + 1)
            ballot = await self._store.cast(make, self._signer.public_key, self._epoch, 0)
        self._last = ballot.seq
        await self._kept(ballot)
        return ballot

    async def _say_again(self, address: str) -> list[Ballot]:
        """Casts anew what only epochs say that are about to be forgotten."""
        key, cast, after = self._signer.public_key, list[Ballot](), ""
        if await self._store.epochs(key) < MAX_EPOCHS - 1:
            return cast
        while said := await self._store.said_by(key, after, MAX_VOTES):
            after = said[-1][0]
            for votes in _packed([votes for _, votes in said]):
                cast.append(await self._cast(votes, address))
        return cast


def _packed(judgements: Sequence[Sequence[Vote]]) -> list[list[Vote]]:
    """Ballots' worth of votes: of each file the newest judgement alone, and all of it in one ballot."""
    ballots: list[list[Vote]] = [[]]
    for votes in {votes[0].cid: votes for votes in judgements if votes}.values():
        together = [*ballots[-1], *votes]
        validators = {(vote.validator, vote.validator_hash) for vote in together}
        if len(together) > MAX_VOTES or len(validators) > MAX_VALIDATORS:
            ballots.append([])
        ballots[-1] += votes
    return [ballot for ballot in ballots if ballot]
