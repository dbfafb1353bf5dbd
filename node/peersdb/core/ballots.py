"""Ballots: what a node itself found out about files, signed, in a chain.

A vote says what one validator of one voter found of one file. Votes travel in ballots of up to 256. A ballot is
canonical dag-cbor ``{voter, log, epoch, seq, prev, ts, validators, votes, sig}``:

``voter``       the public key, 32 bytes
``log``         sha2-256 of the contributions store's address: votes of one cluster are none in another
``epoch, seq``  the voter's chain and the place in it, from 1 without a gap; each run of a node begins an epoch, so that
                a volume that was restored never repeats a place
``prev``        sha2-256 of the ballot before it in the epoch; empty in the first
``ts``          nanoseconds since 1970
``validators``  ``[name and version, sha2-256 of the validator]``, each once
``votes``       ``[cid, place in validators, verdict]``; verdicts by their place in `VERDICTS`
``sig``         over ``b"peersdb-ballot-v1:"`` and the dag-cbor of the other fields

Since ``prev`` is signed too, the signature of a chain's last ballot speaks for all of it: a new peer checks one
signature a batch. Two different ballots of one place, or a ballot and one after it that names another before itself,
prove that their voter says one thing to some and another to others.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from peersdb.core import codec
from peersdb.core.cid import CID
from peersdb.core.identity import KEY_SIZE, SIGNATURE_SIZE, Signer, peer_id_of, verify_signature
from peersdb.errors import InvalidBlock, InvalidCID, InvalidRecord

MAX_VOTES = 256  # of one ballot: a signature costs as much as checking the rest of some ten votes
MAX_VALIDATORS = 64  # of one ballot; a file is judged by a handful
MAX_VALIDATOR = 128  # characters of a validator's name with its version
MAX_BALLOT = 32 * 1024  # bytes: 256 votes of about 45, 64 validators of up to 170
VERDICTS = ("valid", "invalid", "error", "abstain")

HASH_SIZE = 32
_DOMAIN = b"peersdb-ballot-v1:"
_FIELDS = frozenset(("voter", "log", "epoch", "seq", "prev", "ts", "validators", "votes", "sig"))
_MAX_INT = 2**63 - 1


class Vote(NamedTuple):
    """What one validator found of one file.

    Attributes:
        cid: the file's root.
        validator: name and version of what judged it.
        validator_hash: sha2-256 of the validator, 32 bytes.
        verdict: one of `VERDICTS`.
    """

    cid: CID
    validator: str
    validator_hash: bytes
    verdict: str


@dataclass(frozen=True, slots=True)
class Ballot:
    """A ballot whose form was checked; its signature is checked by `verify` or `verify_chain`.

    Attributes:
        voter: the public key.
        log: sha2-256 of the store's address.
        epoch: the voter's chain.
        seq: its place in the chain, from 1.
        prev: hash of the ballot before it; empty in the first.
        ts: nanoseconds since 1970.
        votes: what it says.
        data: the ballot as it is sent.
    """

    voter: bytes
    log: bytes
    epoch: int
    seq: int
    prev: bytes
    ts: int
    votes: tuple[Vote, ...]
    data: bytes

    @property
    def hash(self) -> bytes:
        """As the next ballot's ``prev``."""
        return hashlib.sha256(self.data).digest()

    @property
    def peer_id(self) -> str:
        """The voter's peer id."""
        return peer_id_of(self.voter)


def log_hash(address: str) -> bytes:
    """What a ballot names a store's address by."""
    return hashlib.sha256(address.encode()).digest()


def create_ballot(
    signer: Signer, log: bytes, *, epoch: int, seq: int, prev: bytes, ts: int, votes: Sequence[Vote]
) -> Ballot:
    """Signs a ballot.

    Raises:
        InvalidRecord: a field is out of its limits.
    """
    validators = list(dict.fromkeys((vote.validator, vote.validator_hash) for vote in votes))
    places = {validator: place for place, validator in enumerate(validators)}
    fields: dict[str, Any] = {
        "voter": signer.public_key,
        "log": log,
        "epoch": epoch,
        "seq": seq,
        "prev": prev,
        "ts": ts,
        "validators": [list(validator) for validator in validators],
        "votes": [
            [
                bytes(vote.cid),
                places[vote.validator, vote.validator_hash],
                VERDICTS.index(vote.verdict) if vote.verdict in VERDICTS else -1,
            ]
            for vote in votes
        ],
    }
    try:
        return decode_ballot(codec.encode({**fields, "sig": signer.sign(_DOMAIN + codec.encode(fields))}))
    except InvalidBlock as error:
        raise InvalidRecord(f"the ballot cannot be written: {error}") from error


def decode_ballot(data: bytes) -> Ballot:
    """Reads a ballot; its signature is not looked at.

    Raises:
        InvalidRecord: it is malformed or out of its limits.
    """
    try:
        value = codec.decode(data, MAX_BALLOT)
    except InvalidBlock as error:
        raise InvalidRecord(f"the ballot is unreadable: {error}") from error
    if type(value) is not dict or value.keys() != _FIELDS:
        raise InvalidRecord(f"the ballot has not the fields {', '.join(sorted(_FIELDS))}")
    for name, size in (("voter", KEY_SIZE), ("log", HASH_SIZE), ("sig", SIGNATURE_SIZE)):
        _check(_is_bytes(value[name], size), f"whose {name} is not {size} bytes")
    for name, least in (("epoch", 0), ("seq", 1), ("ts", 0)):
        _check(_is_int(value[name], least, _MAX_INT), f"whose {name} is no whole number from {least}")
    _check(
        _is_bytes(value["prev"], HASH_SIZE if value["seq"] > 1 else 0),
        f"whose prev is not {HASH_SIZE} bytes, or none in a first ballot",
    )
    validators = _validators(value["validators"])
    return Ballot(
        value["voter"],
        value["log"],
        value["epoch"],
        value["seq"],
        value["prev"],
        value["ts"],
        _votes(value["votes"], validators),
        data,
    )


def votes_on(data: bytes, cid: CID) -> tuple[tuple[Vote, ...], int]:
    """What a ballot says of one file, and when (its ``ts``), without making objects of all that it says of others.

    Args:
        data: a ballot whose form `decode_ballot` has checked before.
        cid: the file's root.

    Raises:
        InvalidRecord: it is none, after all.
    """
    root = bytes(cid)
    try:
        value = codec.decode(data, MAX_BALLOT)
        found = [
            (*value["validators"][place], VERDICTS[verdict])
            for voted, place, verdict in value["votes"]
            if voted == root
        ]
        return tuple(Vote(cid, name, hash_, verdict) for name, hash_, verdict in found), value["ts"]
    except (InvalidBlock, LookupError, TypeError, ValueError) as error:
        raise InvalidRecord(f"the ballot is unreadable: {error}") from error


def verify(ballot: Ballot) -> None:
    """Checks a ballot's own signature.

    Raises:
        InvalidRecord: its voter did not sign it.
    """
    value = codec.decode(ballot.data, MAX_BALLOT)
    sig = value.pop("sig")
    if not verify_signature(ballot.voter, _DOMAIN + codec.encode(value), sig):
        raise InvalidRecord(f"the ballot is not signed by {ballot.peer_id}")


def verify_chain(ballots: Sequence[Ballot], log: bytes, after: int, tip: bytes) -> None:
    """Checks ballots that follow each other in one epoch of one voter.

    Args:
        ballots: in their order, at least one.
        log: the log that they have to be of.
        after: the seq that is here already; 0: none.
        tip: the hash of that ballot; empty: none.

    Raises:
        InvalidRecord: they do not follow it, or the voter did not sign the last one and by it all of them.
    """
    first = ballots[0]
    for ballot in ballots:
        _check(
            (ballot.voter, ballot.epoch, ballot.log) == (first.voter, first.epoch, log),
            "is not of the same voter, epoch and log",
        )
        _check((ballot.seq, ballot.prev) == (after + 1, tip), "does not follow the one before it")
        after, tip = ballot.seq, ballot.hash
    verify(ballots[-1])


def check_equivocation(one: bytes, other: bytes, log: bytes) -> Ballot:
    """Checks the proof that a voter's chain has two branches.

    Args:
        one: a ballot.
        other: another ballot of the same place, or one of the next place that does not follow it.
        log: the log that they have to be of.

    Returns:
        The first of them.

    Raises:
        InvalidRecord: it proves nothing.
    """
    first, second = decode_ballot(one), decode_ballot(other)
    _check(first.log == log, "is of another log")
    _check(
        (first.voter, first.log, first.epoch) == (second.voter, second.log, second.epoch)
        and (
            (first.seq == second.seq and _unsigned(one) != _unsigned(other))
            or (first.seq + 1 == second.seq and second.prev != first.hash)
        ),
        "contradicts no other one",
    )
    verify(first)
    verify(second)
    return first


def _unsigned(data: bytes) -> bytes:
    # A signature can be written in more than one way; that is no second ballot.
    value = codec.decode(data, MAX_BALLOT)
    del value["sig"]
    return codec.encode(value)


def _check(right: bool, wrong: str) -> None:
    if not right:
        raise InvalidRecord(f"a ballot {wrong}")


def _is_bytes(value: Any, size: int) -> bool:
    return type(value) is bytes and len(value) == size


def _is_int(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def _validators(value: Any) -> list[tuple[str, bytes]]:
    _check(
        type(value) is list and 0 < len(value) <= MAX_VALIDATORS, f"has not 1 to {MAX_VALIDATORS} validators"
    )
    found = []
    for item in value:
        right = type(item) is list and len(item) == 2 and type(item[0]) is str
        _check(
            right
            and 0 < len(item[0]) <= MAX_VALIDATOR
            and item[0].isprintable()
            and _is_bytes(item[1], HASH_SIZE),
            f"whose validator is not a name of at most {MAX_VALIDATOR} characters and a hash",
        )
        found.append((item[0], item[1]))
    _check(len(set(found)) == len(found), "whose validators repeat")
    return found


def _votes(value: Any, validators: list[tuple[str, bytes]]) -> tuple[Vote, ...]:
    _check(type(value) is list and 0 < len(value) <= MAX_VOTES, f"has not 1 to {MAX_VOTES} votes")
    found = []
    for item in value:
        _check(
            type(item) is list
            and len(item) == 3
            and type(item[0]) is bytes
            and _is_int(item[1], 0, len(validators) - 1)
            and _is_int(item[2], 0, len(VERDICTS) - 1),
            "whose vote is not a CID, the place of a validator and of a verdict",
        )
        try:
            cid = CID.from_bytes(item[0])
        except InvalidCID as error:
            raise InvalidRecord(f"the ballot: {error}") from error
        name, hash_ = validators[item[1]]
        found.append(Vote(cid, name, hash_, VERDICTS[item[2]]))
    _check(len({(vote.cid, vote.validator) for vote in found}) == len(found), "whose votes repeat")
    return tuple(found)
