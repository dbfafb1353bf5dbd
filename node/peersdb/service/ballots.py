"""The votes of all voters on this node: its own are cast, everybody's are replicated.

Pushed as they are cast, passed on some together (`service.passon`); anti-entropy is the truth, as for the log. Each
side says what it has in one number (`VoteHeads`). Where that differs, one sends how far it has each voter's chain
(`VoteVector`) and gets the ballots beyond, batch after batch, each asked for by the next vector. A chain that branches
is proved by two ballots; the proof is passed on, and its voter counts no more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from itertools import groupby

import structlog
import trio

from peersdb.core.ballots import (
    Ballot,
    Vote,
    check_equivocation,
    decode_ballot,
    log_hash,
    verify_chain,
)
from peersdb.core.identity import Signer
from peersdb.core.wire import (
    MAX_BALLOT_BYTES,
    TIP_SIZE,
    Ballots,
    Equivocation,
    Message,
    VoteHeads,
    VoteVector,
)
from peersdb.errors import InvalidMessage
from peersdb.net.sync import SyncLinks
from peersdb.service.casting import Casting
from peersdb.service.environment import Environment
from peersdb.service.passon import PassOn
from peersdb.store.ballots import BallotStore, Place

log = structlog.get_logger("votes")

#: So often a node says what it has (seconds, with jitter), so that a lost push is noticed.
HEADS_INTERVAL = 30.0
#: An answer to a vector is waited for so long (seconds) before the peer is asked again.
ANSWER = 30.0
#: Ballots checked at once; signatures are checked in threads, which leave the interpreter to others.
CHECK_THREADS = 2


class BallotBox:
    """Casts, keeps and passes on ballots.

    Attributes:
        disqualified: voters that were proved to contradict themselves.
    """

    def __init__(
        self,
        *,
        signer: Signer,
        links: SyncLinks,
        store: BallotStore,
        environment: Environment,
        address: Callable[[], str | None],
        agreed: Callable[[], list[str]],
        may_vote: Callable[[str], bool],
    ) -> None:
        """Nothing runs yet.

        Args:
            signer: this node's identity.
            links: messages to peers.
            store: the ballots.
            environment: time and jitter.
            address: of the log that this node holds.
            agreed: the connected peers that hold the same log.
            may_vote: whether a peer id is of somebody whose votes are of interest; strangers' are not kept.
        """
        self._links, self._store, self._environment = links, store, environment
        self._address, self._agreed, self._may_vote = address, agreed, may_vote
        self._tips: dict[Place, tuple[int, bytes]] = {}
        self._asked: dict[str, float] = {}
        self._checking = trio.CapacityLimiter(CHECK_THREADS)
        self._taking = trio.Lock()
        self._pass_on = PassOn(links, agreed, self._tell, environment)
        self._casting = Casting(
            signer=signer,
            store=store,
            environment=environment,
            address=address,
            kept=self._on_cast,
            tell=self._pass_on.cast,
        )
        self.disqualified: dict[str, tuple[bytes, bytes]] = {}

    async def load(self) -> None:
        """Reads what is here: at the start, and again after a rebuild of the database."""
        async with self._taking:
            self._pass_on.forget()
            self.disqualified = await self._store.disqualified()
            self._tips = await self._store.tips()

    async def run(self) -> None:
        """Casts what waits, and says from time to time what is here; ends when cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._casting.run)
            nursery.start_soon(self._pass_on.run)
            while True:
                await trio.sleep(self._environment.jitter(HEADS_INTERVAL))
                self._tell(self._agreed())

    async def cast(self, votes: Sequence[Vote], *, wait: bool = False) -> None:
        """Queues a judgement of one file: the votes of all its validators.

        Args:
            votes: on one file.
            wait: until its ballot is kept; it waits for no others to share it.
        """
        await self._casting.cast(votes, wait=wait)

    async def settle(self) -> None:
        """Waits until all that was queued before is kept."""
        await self.cast((), wait=True)

    def greet(self, peer: str) -> None:
        """A peer turned out to hold the same log."""
        self._asked.pop(peer, None)
        self._tell([peer])

    def gone(self, peer: str) -> None:
        """A peer is gone."""
        self._asked.pop(peer, None)

    async def on_message(self, peer: str, message: Message) -> None:
        """What an agreed peer says of votes.

        Raises:
            InvalidRecord: it sent a ballot that is none.
        """
        match message:
            case VoteHeads():
                if message.fingerprint != self._fingerprint():
                    self._ask(peer)
            case VoteVector():
                await self._on_vector(peer, message)
            case Ballots():
                await self._on_ballots(peer, message)
            case Equivocation():
                await self._on_equivocation(message)
            case _:
                raise InvalidMessage(f"{type(message).__name__} does not speak of votes")

    async def _on_cast(self, ballot: Ballot) -> None:
        if ballot.seq == 1:
            self._tips = await self._store.tips()  # with a new chain old ones may have gone
        self._tips[ballot.voter, ballot.epoch] = (ballot.seq, ballot.hash)

    # --- replication ---------------------------------------------------------------------------------

    def _tell(self, peers: Sequence[str]) -> None:
        heads = VoteHeads(self._fingerprint())
        for peer in peers:
            self._links.send(peer, heads)

    def _fingerprint(self) -> bytes:
        total = 0
        for (key, epoch), (seq, tip) in self._tips.items():
            digest = hashlib.sha256(key + epoch.to_bytes(8) + seq.to_bytes(8) + tip).digest()
            total = (total + int.from_bytes(digest)) % 2**256
        return total.to_bytes(32)

    def _ask(self, peer: str) -> None:
        now = trio.current_time()
        if now < self._asked.get(peer, 0.0):
            return
        self._asked[peer] = now + ANSWER
        self._links.send(
            peer,
            VoteVector(tuple((*place, seq, tip[:TIP_SIZE]) for place, (seq, tip) in self._tips.items())),
        )

    async def _on_vector(self, peer: str, message: VoteVector) -> None:
        theirs = {(key, epoch): (seq, tip) for key, epoch, seq, tip in message.chains}
        found, more = await self._store.after(
            {place: seq for place, (seq, _) in theirs.items()}, MAX_BALLOT_BYTES
        )
        self._links.send(peer, Ballots(tuple(found), live=False, more=more))
        if any(place not in self._tips or seq > self._tips[place][0] for place, (seq, _) in theirs.items()):
            self._ask(peer)
        for place, (seq, tip) in self._tips.items():
            if place in theirs and theirs[place] != (seq, tip[:TIP_SIZE]) and theirs[place][0] == seq:
                branch = await self._store.ballot(place, seq)
                if branch:  # the peer has another one of this place, and the proof with ours
                    self._links.send(peer, Ballots((branch,), live=True, more=False))
        voters = {key for key, _ in theirs}
        for one, other in self.disqualified.values():
            if decode_ballot(one).voter in voters:
                self._links.send(peer, Equivocation(one, other))

    async def _on_ballots(self, peer: str, message: Ballots) -> None:
        blocks: Sequence[bytes] = message.ballots
        if not message.live:
            self._asked.pop(peer, None)
        elif not (blocks := self._pass_on.sift(peer, blocks)):
            return
        async with self._taking:
            if message.live:  # some of them may have come from others while this one waited
                blocks = self._pass_on.sift(peer, blocks)
            fresh, missing = await self._take(blocks)
        if message.live:
            self._pass_on.came(fresh, peer)
            if missing:
                self._ask(peer)
        elif fresh:
            if message.more:
                self._ask(peer)
            else:
                self._tell([one for one in self._agreed() if one != peer])

    async def _take(self, blocks: Sequence[bytes]) -> tuple[list[Ballot], bool]:
        """Checks and keeps ballots; gives those that are new, and whether some before them are missing."""
        if not blocks:
            return [], False
        ballots = await trio.to_thread.run_sync(lambda: [decode_ballot(data) for data in blocks])
        address = self._address()
        expected = log_hash(address) if address else b""
        fresh, missing, begun = list[Ballot](), False, False
        ballots.sort(key=lambda ballot: (ballot.voter, ballot.epoch, ballot.seq))
        for place, group in groupby(ballots, lambda ballot: (ballot.voter, ballot.epoch)):
            chain = list(group)
            voter = chain[0].peer_id
            if voter in self.disqualified or not self._may_vote(voter):
                continue
            seq, tip = self._tips.get(place, (0, b""))
            if chain[0].seq <= seq:
                await self._compare(place, chain[0], expected)
                chain = [ballot for ballot in chain if ballot.seq > seq]
            if not chain or voter in self.disqualified:
                continue
            if chain[0].seq > seq + 1:
                missing = True
                continue
            if chain[0].prev != tip:
                ours = await self._store.ballot(place, seq)
                await self._found(ours or b"", chain[0].data, expected)
                continue
            await trio.to_thread.run_sync(
                verify_chain, chain, expected, seq, tip, limiter=self._checking, abandon_on_cancel=True
            )
            kept = await self._store.keep(chain)
            if kept:
                begun |= place not in self._tips
                self._tips[place] = (kept[-1].seq, kept[-1].hash)
            fresh += kept
        if begun:
            self._tips = await self._store.tips()  # with a new chain old ones may have gone
        return fresh, missing

    # --- equivocation --------------------------------------------------------------------------------

    async def _compare(self, place: Place, ballot: Ballot, expected: bytes) -> None:
        """A ballot of a place that is taken: the same one, or a branch."""
        ours = await self._store.ballot(place, ballot.seq)
        if ours is not None and ours != ballot.data:
            await self._found(ours, ballot.data, expected)

    async def _on_equivocation(self, message: Equivocation) -> None:
        address = self._address()
        voter = decode_ballot(message.one).peer_id
        if voter not in self.disqualified and address and self._may_vote(voter):
            await self._found(message.one, message.other, log_hash(address))

    async def _found(self, one: bytes, other: bytes, expected: bytes) -> None:
        first = check_equivocation(one, other, expected)
        if first.peer_id in self.disqualified:
            return
        self.disqualified[first.peer_id] = (one, other)
        await self._store.disqualify(one, other)
        self._tips = await self._store.tips()
        log.warning(
            "a voter says one thing to some and another to others: its votes count no more",
            voter=first.peer_id,
            epoch=first.epoch,
            seq=first.seq,
        )
        for peer in self._agreed():
            self._links.send(peer, Equivocation(one, other))
