"""Whether a file is valid: by this node's own judgement, by the votes that are here, by those that peers cast now.

A node judges what it posts and keeps its own record. Asked about another file, it counts the votes of the electorate:
its connected peers, or the voters that it was told, each signed and counted once. When more than the quorum of them
found the file valid (or not), that is the outcome. Otherwise it asks those who have not voted, for a moment, and then
judges the file itself. Only what a node found out itself is ever voted with.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import structlog
import trio

from peersdb.core.ballots import Vote
from peersdb.core.cid import CID, ipfs_path
from peersdb.core.identity import Signer
from peersdb.core.quorum import Outcome, Tally, count, decide
from peersdb.core.wire import VALIDATION_PROTOCOL, Message, VoteAnswer, VoteRequest
from peersdb.errors import InvalidMessage
from peersdb.net.ask import serve_answers
from peersdb.net.host import Host
from peersdb.service.ballots import BallotBox
from peersdb.service.environment import Environment
from peersdb.service.judging import INTEGRITY, INTEGRITY_HASH, Judge, Judgement
from peersdb.service.livevotes import LiveVotes
from peersdb.store.ballots import BallotStore, Said
from peersdb.store.contents import Row
from peersdb.store.judged import JudgedContents
from peersdb.store.tables import Validation, Validations

log = structlog.get_logger("validation")

#: Who is asked may judge the file now, if that takes no longer (seconds).
ANSWER_WITHIN = 1.5
#: Voters whose votes one answer tells.
MAX_SAID = 256

OWN, VOTES = "own", "votes"


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a file is valid, says who.

    Attributes:
        record: as kept.
        decided_by: `OWN` or `VOTES`.
        tally: what the electorate says.
        said: who says what, and by which validators; at most `MAX_SAID`.
    """

    record: Validation
    decided_by: str
    tally: Tally
    said: tuple[Said, ...]


class Listed(NamedTuple):
    """A contribution, the verdict on it (empty: none is known), and what the electorate says."""

    row: Row
    verdict: str
    tally: Tally


class ValidationService:
    """This node's judgements, and everybody's votes."""

    def __init__(
        self,
        *,
        signer: Signer,
        host: Host,
        table: Validations,
        store: BallotStore,
        contents: JudgedContents,
        box: BallotBox,
        judge: Judge,
        environment: Environment,
        address: Callable[[], str | None],
        voters: Callable[[], Mapping[str, int]],
        percent: int,
        name_of: Callable[[str], Awaitable[str]],
        read: Callable[[CID], AsyncGenerator[bytes, None]],
    ) -> None:
        """Answers peers' requests from now on.

        Args:
            signer: this node's identity.
            host: connections.
            table: this node's records.
            store: everybody's votes.
            contents: contributions with both.
            box: casts this node's.
            judge: judges here.
            environment: time.
            address: of the log that this node holds.
            voters: the electorate: peer id → weight.
            percent: a side needs more than this share of the electorate's weight.
            name_of: a file's name by its path, or empty.
            read: a file's content, as far as it is here.
        """
        self._signer, self._host, self._table, self._store, self._box = signer, host, table, store, box
        self._contents = contents
        self._judge, self._environment, self._address = judge, environment, address
        self._voters, self._percent, self._name_of, self._read = voters, percent, name_of, read
        self._live = LiveVotes(host=host, store=store, address=address, percent=percent)
        self.sooner: Callable[[str], Awaitable[None]] | None = None
        """Judges a file that this node would judge unasked, ahead of its turn; None where it judges nothing unasked."""

        serve_answers(host, VALIDATION_PROTOCOL, VoteRequest, self._answer)

    def made_here(self, root: CID) -> Validation:
        """The record of a file whose blocks this node made from its content: whole by the way it came."""
        return self._record(root, "valid", 0, INTEGRITY, plan=INTEGRITY_HASH)

    async def is_valid(self, root: CID, fetch: Callable[[], Awaitable[None]]) -> Answer:
        """Whether a file is valid: by this node's record, else by votes, else by its own judgement.

        Args:
            root: the file.
            fetch: makes it be here, for a judgement of this node's own; its errors are the caller's.

        Raises:
            StorageError: it cannot be judged for want of space, say.
        """
        known = await self._table.get(ipfs_path(root))
        if known is not None and self._stands(known):
            return await self._answer_of(known, OWN)
        voted = await self._by_votes(root)
        if voted is not None:
            return voted
        if known is not None and not known.is_own:  # the peers of then are gone, what they said stands
            return await self._answer_of(known, VOTES)
        return await self.validate(root, fetch)

    async def validate(self, root: CID, fetch: Callable[[], Awaitable[None]]) -> Answer:
        """Judges a file here and now, and votes; see `is_valid`."""
        await fetch()
        return await self._answer_of(await self._judge_here(root), OWN)

    async def judge(self, root: CID, fetch: Callable[[], Awaitable[None]]) -> None:
        """As `validate`, for nobody who waits for the answer: the vote is cast a moment later."""
        await fetch()
        await self._judge_here(root, wait=False)

    async def _judge_here(self, root: CID, *, wait: bool = True) -> Validation:
        name = await self._name_of(ipfs_path(root))
        judgement = await self._judge.judge(root, name, lambda: self._read(root))
        return await self._keep(root, judgement, wait=wait)

    async def needs(self, path: str) -> bool:
        """Whether this node should judge a file unasked: nothing that stands is known of it, and no quorum is."""
        known = await self._table.get(path)
        if known is not None and self._stands(known):
            return False
        outcome, tally = await self._outcome(path)
        if not outcome.verdict:
            return True
        if known is None:
            await self._table.keep(self._quorum_record(path, outcome, tally))
        return False

    async def arrivals(self, after: int, limit: int, path: str | None = None) -> tuple[list[Listed], int]:
        """Contributions in the order they came, each with the verdict on it as far as it is known; asks nobody.

        Args:
            after: the number of the last one that is known already; 0 for all.
            limit: so many at most.
            path: only those of this file.

        Returns:
            The contributions, and the number of the last one (or ``after``).
        """
        found, last = await self._contents.arrivals(after, limit, path, self._electorate(), self._judge.hash)
        by_votes = {tally: decide(tally, self._percent).verdict for tally in {one.tally for one in found}}
        listed = []
        for row, kept, is_own, tally in found:
            own = kept if is_own and kept in ("valid", "invalid") else ""
            listed.append(Listed(row, own or by_votes[tally] or kept, tally))
        return listed, last

    # --- by votes ------------------------------------------------------------------------------------

    def _electorate(self) -> dict[str, int]:
        return {peer: weight for peer, weight in self._voters().items() if peer not in self._box.disqualified}

    async def _outcome(self, path: str) -> tuple[Outcome, Tally]:
        tally = count(await self._store.verdicts(path), self._electorate())
        return decide(tally, self._percent), tally

    async def _by_votes(self, root: CID) -> Answer | None:
        """The answer of the electorate: of what is here, then of what it says when asked."""
        path, weights = ipfs_path(root), self._electorate()
        votes = await self._store.verdicts(path)
        live: list[Said] = []
        tally = count(votes, weights)
        if not decide(tally, self._percent).final:
            votes, live = await self._live.top_up(root, votes, weights)
            tally = count(votes, weights)
        outcome = decide(tally, self._percent)
        if not outcome.verdict:
            return None
        record = self._quorum_record(path, outcome, tally)
        await self._table.keep(record)
        return await self._answer_of(record, VOTES, live)

    async def _answer(self, message: Message) -> Message:
        """This node's own vote, as signed. What it judges unasked it judges now, if it has not yet."""
        if not isinstance(message, VoteRequest):
            raise InvalidMessage("a vote is asked for by a VoteRequest")
        root = CID.from_bytes(message.cid)
        path = ipfs_path(root)
        if self._address() is None:
            return VoteAnswer(b"")
        ballot = None
        with trio.move_on_after(ANSWER_WITHIN):
            record = await self._table.get(path)
            if record is not None and record.is_own:
                if not self._stands(record):  # it was posted here, or the validators are others by now
                    await self._judge_here(root)
            elif self.sooner is not None:
                await self.sooner(path)
            ballot = await self._own_ballot(path)
        record = await self._table.get(path)
        if ballot is None and record is not None and self._stands(record) and record.validator == INTEGRITY:
            # Whole by the way it came, and nobody but the asker has wanted to know.
            await self._box.cast((Vote(root, INTEGRITY, INTEGRITY_HASH, record.verdict),), wait=True)
            ballot = await self._store.own_on(self._signer.public_key, path)
        return VoteAnswer(ballot or b"")

    async def _own_ballot(self, path: str) -> bytes | None:
        """This node's vote on a file that it has judged with its validators; it may still wait to be cast."""
        ballot = await self._store.own_on(self._signer.public_key, path)
        if ballot is None:
            record = await self._table.get(path)
            if record is not None and self._stands(record) and record.validator != INTEGRITY:
                await self._box.settle()
                ballot = await self._store.own_on(self._signer.public_key, path)
        return ballot

    # --- records -------------------------------------------------------------------------------------

    def _stands(self, record: Validation) -> bool:
        return record.is_own and record.verdict in ("valid", "invalid") and record.plan == self._judge.hash

    async def _keep(self, root: CID, judgement: Judgement, *, wait: bool) -> Validation:
        record = self._record(
            root,
            judgement.verdict,
            0,
            ", ".join(vote.validator for vote in judgement.votes),
            plan=self._judge.hash,
            reason=judgement.reason,
        )
        await self._table.keep(record)
        if self._address() is not None:
            await self._box.cast(judgement.votes, wait=wait)
        if judgement.verdict != "valid":
            log.info("a file is not valid", path=record.path, verdict=record.verdict, reason=record.reason)
        return record

    def _record(
        self, root: CID, verdict: str, votes: int, validator: str, *, plan: bytes, reason: str = ""
    ) -> Validation:
        now = self._environment.now_ns()
        return Validation(ipfs_path(root), verdict == "valid", votes, validator, now, verdict, plan, reason)

    def _quorum_record(self, path: str, outcome: Outcome, tally: Tally) -> Validation:
        now = self._environment.now_ns()
        return Validation(path, outcome.verdict == "valid", tally.voters, "", now, outcome.verdict, b"", "")

    async def _answer_of(self, record: Validation, decided_by: str, live: Sequence[Said] = ()) -> Answer:
        """``live``: what was said when it was asked for, and need not have come by itself yet."""
        kept = await self._store.said_of(record.path, MAX_SAID)
        told = {one.peer: one for one in (*live, *kept)}
        verdicts = {one.peer: one.verdict for one in told.values()}
        if len(kept) == MAX_SAID:  # there may be more
            verdicts |= await self._store.verdicts(record.path)
        said = sorted(told.values(), key=lambda one: one.peer)[:MAX_SAID]
        return Answer(record, decided_by, count(verdicts, self._electorate()), tuple(said))
