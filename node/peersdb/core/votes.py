"""Votes: what a node itself found out about a file, signed.

A vote is canonical dag-cbor ``{cid, validator, validator_hash, verdict, origin, seq, ts, voter, sig}``. The signature
covers ``b"peersdb-vote-v1:"`` and the dag-cbor of the other fields, and the key is read out of the voter's peer
id, so a vote can be neither made for others nor moved to another file.
"""

from dataclasses import dataclass
from typing import Any

from peersdb.core import codec
from peersdb.core.cid import CID
from peersdb.core.identity import SIGNATURE_SIZE, Signer, public_key_of, verify_signature
from peersdb.errors import InvalidBlock, InvalidCID, InvalidData, InvalidRecord

MAX_VOTE = 1024  # bytes; ours have about 330
MAX_VALIDATOR = 128  # characters of a validator's name with its version
VERDICTS = frozenset(("valid", "invalid", "error", "abstain"))
ORIGINS = frozenset(("self", "quorum"))

_DOMAIN = b"peersdb-vote-v1:"
_FIELDS = frozenset(("cid", "validator", "validator_hash", "verdict", "origin", "seq", "ts", "voter", "sig"))
_MAX_INT = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Vote:
    """A verified vote.

    Attributes:
        cid: the file's root.
        validator: name and version of what judged it.
        validator_hash: sha2-256 of the validator, 32 bytes.
        verdict: ``valid``, ``invalid``, ``error`` or ``abstain``.
        origin: ``self`` when the voter judged the file, ``quorum`` when it took over others' verdict.
        seq: of two votes of one voter on one file the higher one holds.
        ts: nanoseconds since 1970 when it was decided.
        voter: the peer id that signed it.
        data: the vote as it is sent.
    """

    cid: CID
    validator: str
    validator_hash: bytes
    verdict: str
    origin: str
    seq: int
    ts: int
    voter: str
    data: bytes


def create_vote(
    signer: Signer, cid: CID, *, validator: str, validator_hash: bytes, verdict: str, seq: int, ts: int
) -> Vote:
    """Signs a vote on a file that the signer judged itself.

    Raises:
        InvalidRecord: a field is out of its limits.
    """
    fields: dict[str, Any] = {
        "cid": bytes(cid),
        "validator": validator,
        "validator_hash": validator_hash,
        "verdict": verdict,
        "origin": "self",
        "seq": seq,
        "ts": ts,
        "voter": signer.peer_id,
    }
    try:
        return decode_vote(codec.encode({**fields, "sig": signer.sign(_DOMAIN + codec.encode(fields))}))
    except InvalidBlock as error:
        raise InvalidRecord(f"the vote cannot be written: {error}") from error


def decode_vote(data: bytes) -> Vote:
    """Reads a vote and checks its signature.

    Raises:
        InvalidRecord: it is malformed, out of its limits or not signed by its voter.
    """
    try:
        value = codec.decode(data, MAX_VOTE)
    except InvalidBlock as error:
        raise InvalidRecord(f"the vote is unreadable: {error}") from error
    if type(value) is not dict or value.keys() != _FIELDS:
        raise InvalidRecord(f"the vote has not the fields {', '.join(sorted(_FIELDS))}")
    sig = value.pop("sig")
    for name, kind in (("cid", bytes), ("validator_hash", bytes), ("validator", str), ("voter", str)):
        if type(value[name]) is not kind:
            raise InvalidRecord(f"the vote's {name} is not of type {kind.__name__}")
    if len(value["validator_hash"]) != 32 or not 0 < len(value["validator"]) <= MAX_VALIDATOR:
        raise InvalidRecord("the vote names no validator")
    if value["verdict"] not in VERDICTS or value["origin"] not in ORIGINS:
        raise InvalidRecord("the vote's verdict or origin is unknown")
    if any(type(value[name]) is not int or not 0 <= value[name] <= _MAX_INT for name in ("seq", "ts")):
        raise InvalidRecord("the vote's seq or ts is no whole number from 0")
    try:
        cid, public_key = CID.from_bytes(value["cid"]), public_key_of(value["voter"])
    except (InvalidCID, InvalidData) as error:
        raise InvalidRecord(f"the vote: {error}") from error
    if type(sig) is not bytes or len(sig) != SIGNATURE_SIZE:
        raise InvalidRecord("the vote's sig is not a signature of 64 bytes")
    if not verify_signature(public_key, _DOMAIN + codec.encode(value), sig):
        raise InvalidRecord(f"the vote is not signed by {value['voter']}")
    return Vote(
        cid,
        value["validator"],
        value["validator_hash"],
        value["verdict"],
        value["origin"],
        value["seq"],
        value["ts"],
        value["voter"],
        data,
    )
