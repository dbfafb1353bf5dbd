"""Validation, first cut: the original's protocol, made sound.

A node judges what it posts and keeps its own record. Asked about another file, it asks its connected peers for
their votes: each is signed by its voter and counted once. When more than half of the connected peers found the file
valid, it is; otherwise the node judges the file itself. The result is kept with the number of votes, and only a
record that a node decided itself (no votes) is ever voted with.

The seam for more is `Validator`: it judges one file by its content.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Protocol

import structlog
import trio

from peersdb.core.cid import CID, ipfs_path
from peersdb.core.identity import Signer
from peersdb.core.votes import Vote, create_vote, decode_vote
from peersdb.core.wire import VALIDATION_PROTOCOL, Message, VoteAnswer, VoteRequest
from peersdb.errors import InvalidMessage, PeersDBError
from peersdb.net.ask import ask, serve_answers
from peersdb.net.host import Host
from peersdb.service.environment import Environment
from peersdb.store.tables import Validation, Validations

log = structlog.get_logger("validation")

#: Votes are waited for so long (seconds); then the node judges the file itself.
DEADLINE = 2.0
#: Peers asked at once.
ASK_AT_ONCE = 16

#: Gives the content piece by piece; each block of it was checked against its CID.
Read = Callable[[], AsyncGenerator[bytes, None]]


class Validator(Protocol):
    """Judges files.

    Attributes:
        name: with its version, as kept in records and votes.
    """

    name: str

    async def judge(self, read: Read) -> bool:
        """Whether a file is valid."""
        ...


class Integrity:
    """Valid is what is whole: every block of it can be read and hashes to its CID."""

    name = "integrity/1"

    async def judge(self, read: Read) -> bool:
        """Reads all of the file."""
        try:
            async with aclosing(read()) as chunks:
                async for _ in chunks:
                    pass
        except PeersDBError:  # a part is missing or damaged: that is the verdict
            return False
        return True


class ValidationService:
    """This node's judgements, and its peers' votes."""

    def __init__(
        self,
        *,
        signer: Signer,
        host: Host,
        table: Validations,
        validator: Validator,
        environment: Environment,
    ) -> None:
        """Answers peers' requests from now on."""
        self._signer, self._host, self._table = signer, host, table
        self._validator, self._environment = validator, environment
        serve_answers(host, VALIDATION_PROTOCOL, VoteRequest, self._answer)

    def made_here(self, root: CID) -> Validation:
        """The record of a file whose blocks this node made from its content: whole by the way it came."""
        return self._record(root, valid=True, votes=0)

    async def is_valid(self, root: CID, fetch: Callable[[], Awaitable[None]], read: Read) -> Validation:
        """Whether a file is valid: by this node's record, else by its peers' votes, else by its own judgement.

        Args:
            root: the file.
            fetch: makes it be here, for a judgement of this node's own; its errors are the caller's.
            read: its content, once it is here.
        """
        known = await self._table.get(ipfs_path(root))
        if known is not None:
            return known
        peers = self._host.connected
        votes = await self._votes(root, peers)
        valid = sum(vote.verdict == "valid" for vote in votes)
        if valid * 2 > len(peers):
            record = self._record(root, valid=True, votes=len(votes))
        else:
            await fetch()
            record = self._record(root, valid=await self._validator.judge(read), votes=0)
        await self._table.keep(record)
        return record

    async def _votes(self, root: CID, peers: Sequence[str]) -> list[Vote]:
        votes: dict[str, Vote] = {}
        limit = trio.CapacityLimiter(ASK_AT_ONCE)
        with trio.move_on_after(DEADLINE):
            async with trio.open_nursery() as nursery:

                async def collect(peer: str) -> None:
                    async with limit:
                        vote = await self._vote_of(peer, root)
                    if vote is not None:
                        votes[peer] = vote
                    if sum(item.verdict == "valid" for item in votes.values()) * 2 > len(peers):
                        nursery.cancel_scope.cancel()  # the outcome cannot change any more

                for peer in peers:
                    nursery.start_soon(collect, peer)
        return list(votes.values())

    async def _vote_of(self, peer: str, root: CID) -> Vote | None:
        """A peer's own vote on this file, or None."""
        try:
            answer = await ask(self._host, peer, VALIDATION_PROTOCOL, VoteRequest(bytes(root)), DEADLINE)
            if not isinstance(answer, VoteAnswer):
                raise InvalidMessage(f"peer {peer} answered {type(answer).__name__} for its vote")
            if not answer.vote:
                return None
            vote = decode_vote(answer.vote)
        except PeersDBError as error:
            log.info("no vote from a peer", peer=peer, path=ipfs_path(root), error=str(error))
            return None
        if vote.voter != peer or vote.cid != root or vote.origin != "self":
            log.warning("a peer sent a vote that is not its own on this file", peer=peer, voter=vote.voter)
            return None
        return vote

    async def _answer(self, message: Message) -> Message:
        if not isinstance(message, VoteRequest):
            raise InvalidMessage("a vote is asked for by a VoteRequest")
        root = CID.from_bytes(message.cid)
        record = await self._table.get(ipfs_path(root))
        if record is None or record.votes > 0:
            return VoteAnswer(b"")
        vote = create_vote(
            self._signer,
            root,
            validator=record.validator,
            validator_hash=hashlib.sha256(record.validator.encode()).digest(),
            verdict="valid" if record.valid else "invalid",
            seq=record.decided,
            ts=record.decided,
        )
        return VoteAnswer(vote.data)

    def _record(self, root: CID, *, valid: bool, votes: int) -> Validation:
        return Validation(ipfs_path(root), valid, votes, self._validator.name, self._environment.now_ns())
