"""Entries of the log in OrbitDB's v2 format, and every check before one may join.

A block is canonical dag-cbor ``{v: 2, id, payload, next, refs, clock: {id, time}, key, identity, sig}``,
its name the CIDv1 in base58btc. The signature covers the first six fields (`Entry.signed_bytes`).
As made and verified by ``@orbitdb/core``, ``src/oplog/entry.js``.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from peersdb.core import codec
from peersdb.core.cid import hash_of, is_hash
from peersdb.core.clock import MAX_TIME, Clock
from peersdb.core.contribution import Contribution, parse_timestamp
from peersdb.core.identity import (
    KEY_SIZE,
    SIGNATURE_SIZE,
    Identity,
    Signer,
    is_hex,
    peer_id_of,
    verify_signature,
)
from peersdb.errors import InvalidBlock, InvalidEntry

# An entry of ours has under 1 KiB plus 50 bytes a parent; 16 KiB bounds what one signature can cost.
MAX_ENTRY = 16 * 1024
# Parents of one entry. More heads than this at once are merged over several entries.
MAX_NEXT = 32
# OrbitDB's references into the past, written by other programs; we write none.
MAX_REFS = 64
MAX_LOG_ID = 128  # characters; "/orbitdb/zdpu…" has 58
# Clocks of volunteers' machines are off by minutes at times; an entry from further ahead would stay at the
# top of every listing sorted by time.
MAX_AHEAD_NS = 10 * 60 * 1_000_000_000

_FIELDS = frozenset(("v", "id", "payload", "next", "refs", "clock", "key", "identity", "sig"))


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A decoded entry; two are equal when their blocks are.

    Attributes:
        hash: the block's CID, ``zdpu…``.
        data: the canonical block.
        log_id: the address of the log it was signed for.
        payload: ``{op, key, value}``.
        next: hashes of its parents.
        refs: hashes of earlier entries, hints of other writers for faster loading.
        clock: the writer's logical time.
        key: the writer's public key in hex.
        identity: hash of the writer's identity block.
        sig: the signature in hex.
    """

    hash: str
    data: bytes
    log_id: str
    payload: dict[str, Any]
    next: tuple[str, ...]
    refs: tuple[str, ...]
    clock: Clock
    key: str
    identity: str
    sig: str
    # Read once: checks, tables, wants and benchmark each ask for it, and reading it takes as long as decoding.
    _contribution: Contribution | None = field(default=None, init=False, repr=False)
    _digest: bytes = field(default=b"", init=False, repr=False)

    @property
    def digest(self) -> bytes:
        """The sha2-256 of the block, as its CID has it; hashed once, since each peer that is told of it asks."""
        if not self._digest:
            object.__setattr__(self, "_digest", hashlib.sha256(self.data).digest())
        return self._digest

    @property
    def contribution(self) -> Contribution:
        """The payload's value. Raises InvalidEntry when it is none."""
        found = self._contribution
        if found is None:
            found = Contribution.from_value(self.payload.get("value"))
            object.__setattr__(self, "_contribution", found)
        return found

    @property
    def order(self) -> tuple[int, str, str]:
        """The place in the log's total order: time, then writer, then hash."""
        return (self.clock.time, self.clock.id, self.hash)

    @property
    def signed_bytes(self) -> bytes:
        """What the signature covers."""
        return codec.encode(
            _signed_fields(self.log_id, self.payload, self.clock, list(self.next), list(self.refs))
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entry) and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)


def add_payload(contribution: Contribution) -> dict[str, Any]:
    """Wrap a contribution as OrbitDB's event log does."""
    return {"op": "ADD", "key": None, "value": contribution.to_value()}


def create_entry(  # noqa: PLR0917 - the order in which OrbitDB's own create takes them
    signer: Signer,
    log_id: str,
    payload: dict[str, Any],
    clock: Clock,
    next: tuple[str, ...],  # noqa: A002 - the format's own name
    refs: tuple[str, ...] = (),
) -> Entry:
    """Sign a new entry.

    Raises:
        InvalidEntry: it would be larger than 16 KiB or have more parents than one may (``size``, ``links``,
            ``shape``).
    """
    fields = _signed_fields(log_id, payload, clock, list(next), list(refs))
    fields["sig"] = signer.sign(codec.encode(fields)).hex()
    fields["key"] = signer.key_hex
    fields["identity"] = signer.identity.hash
    data = codec.encode(fields)
    _check_size(data)
    # Not decoded again: what was just encoded is canonical and has the right shape.
    entry = Entry(
        hash=hash_of(data),
        data=data,
        log_id=log_id,
        payload=payload,
        next=_hashes(fields, "next", MAX_NEXT),
        refs=_hashes(fields, "refs", MAX_REFS),
        clock=clock,
        key=signer.key_hex,
        identity=signer.identity.hash,
        sig=fields["sig"],
    )
    _check_links(entry)
    return entry


def create_addition(
    signer: Signer, log_id: str, contribution: Contribution, clock: Clock, parents: tuple[str, ...]
) -> Entry:
    """Sign a new entry that adds a contribution; see `create_entry`."""
    entry = create_entry(signer, log_id, add_payload(contribution), clock, parents)
    object.__setattr__(entry, "_contribution", contribution)
    return entry


def decode_entry(data: bytes) -> Entry:
    """Read an entry's block: its size, its canonical form, its shape and the number of its links are checked.

    Raises:
        InvalidEntry: reasons ``size``, ``canonical``, ``shape``, ``links``.
    """
    _check_size(data)
    try:
        value = codec.decode(data, MAX_ENTRY)
    except InvalidBlock as error:
        raise InvalidEntry("canonical", f"the entry is unreadable: {error}") from error
    _check_shape(value)
    return Entry(
        hash=hash_of(data),
        data=data,
        log_id=value["id"],
        payload=value["payload"],
        next=_hashes(value, "next", MAX_NEXT),
        refs=_hashes(value, "refs", MAX_REFS),
        clock=Clock(value["clock"]["id"], value["clock"]["time"]),
        key=value["key"],
        identity=value["identity"],
        sig=value["sig"],
    )


def everyone(_key: str) -> bool:
    """Let every writer in, as the access list ``*`` says."""
    return True


def check_entry(entry: Entry, log_id: str, now_ns: int, allow: Callable[[str], bool] = everyone) -> None:
    """Make the cheap checks: all but the signature and the identity, which cost 50 µs each.

    Args:
        entry: a decoded entry.
        log_id: the address of the log it shall join.
        now_ns: the time here, nanoseconds since 1970.
        allow: says whether the key in hex may write.

    Raises:
        InvalidEntry: reasons ``log_id``, ``writer``, ``links``, ``clock``, ``payload``, ``contributor``,
            ``timestamp``.
    """
    if entry.log_id != log_id:
        raise InvalidEntry("log_id", f"the entry belongs to {entry.log_id}, not to {log_id}")
    if not allow(entry.key):
        raise InvalidEntry("writer", f"{entry.key} may not write to this log")
    _check_links(entry)
    if entry.clock.id != entry.key:
        raise InvalidEntry("clock", "the entry's clock is not its signer's")
    if not 1 <= entry.clock.time <= MAX_TIME:
        raise InvalidEntry("clock", f"the entry's clock is {entry.clock.time}, not between 1 and 2**53")
    payload = entry.payload
    if payload.keys() != {"op", "key", "value"} or payload["op"] != "ADD" or payload["key"] is not None:
        raise InvalidEntry("payload", "the payload is not {op: 'ADD', key: null, value}")
    contribution = entry.contribution
    if contribution.contributor != peer_id_of(bytes.fromhex(entry.key)):
        raise InvalidEntry("contributor", f"the entry names {contribution.contributor}, who did not sign it")
    if parse_timestamp(contribution.creation_ts) > now_ns + MAX_AHEAD_NS:
        raise InvalidEntry(
            "timestamp",
            f"creationTS {contribution.creation_ts} is over 10 minutes ahead; check both machines' clocks",
        )


def check_signature(entry: Entry) -> None:
    """Check the signature: about 60 µs, without the interpreter's lock.

    Raises:
        InvalidEntry: reason ``signature``.
    """
    if not verify_signature(bytes.fromhex(entry.key), entry.signed_bytes, bytes.fromhex(entry.sig)):
        raise InvalidEntry("signature", f"the entry {entry.hash} is not signed by its key")


def check_identity(entry: Entry, identity: Identity) -> None:
    """Check that a verified identity is the one the entry names and has its key.

    Raises:
        InvalidEntry: reason ``identity``.
    """
    if identity.hash != entry.identity:
        raise InvalidEntry("identity", f"the entry names the identity {entry.identity}, not {identity.hash}")
    if identity.public_key != entry.key:
        raise InvalidEntry("identity", "the entry's identity has another key than the entry")


def _signed_fields(
    log_id: str, payload: dict[str, Any], clock: Clock, parents: list[str], refs: list[str]
) -> dict[str, Any]:
    return {
        "v": 2,
        "id": log_id,
        "payload": payload,
        "next": parents,
        "refs": refs,
        "clock": {"id": clock.id, "time": clock.time},
    }


def _check_size(data: bytes) -> None:
    if len(data) > MAX_ENTRY:
        raise InvalidEntry("size", f"the entry has {len(data)} bytes, at most {MAX_ENTRY} are taken")


def _check_shape(value: Any) -> None:
    if type(value) is not dict or value.keys() != _FIELDS:
        raise InvalidEntry("shape", "the entry has not the nine fields of an OrbitDB entry")
    if type(value["v"]) is not int or value["v"] != 2:
        raise InvalidEntry("shape", f"the entry's version is {value['v']!r}, only 2 is supported")
    if type(value["id"]) is not str or len(value["id"]) > MAX_LOG_ID:
        raise InvalidEntry("shape", f"the entry's id is not text of at most {MAX_LOG_ID} characters")
    if type(value["payload"]) is not dict:
        raise InvalidEntry("shape", "the entry's payload is not a map")
    _check_clock_shape(value["clock"])
    if not is_hex(value["key"], KEY_SIZE):
        raise InvalidEntry("shape", "the entry's key is not the hex of an Ed25519 key")
    if not is_hex(value["sig"], SIGNATURE_SIZE):
        raise InvalidEntry("shape", "the entry's signature is not the hex of 64 bytes")
    if not is_hash(value["identity"]):
        raise InvalidEntry("shape", "the entry's identity is not the hash of a block")


def _check_clock_shape(clock: Any) -> None:
    if type(clock) is not dict or clock.keys() != {"id", "time"}:
        raise InvalidEntry("shape", "the entry's clock has not the fields id and time")
    if type(clock["id"]) is not str or type(clock["time"]) is not int:
        raise InvalidEntry("shape", "the entry's clock is not a text and a whole number")


def _hashes(value: dict[str, Any], field: str, most: int) -> tuple[str, ...]:
    hashes = value[field]
    if type(hashes) is not list:
        raise InvalidEntry("shape", f"the entry's {field} is not a list")
    # Counted before each one is decoded.
    if len(hashes) > most:
        raise InvalidEntry("links", f"the entry's {field} has {len(hashes)} hashes, at most {most} are taken")
    for text in hashes:
        if not is_hash(text):
            raise InvalidEntry("shape", f"the entry's {field} holds something else than hashes of entries")
    return tuple(hashes)


def _check_links(entry: Entry) -> None:
    if len(set(entry.next)) != len(entry.next) or len(set(entry.refs)) != len(entry.refs):
        raise InvalidEntry("links", "the entry names a parent twice")
    if entry.hash in entry.next or entry.hash in entry.refs:
        raise InvalidEntry("links", "the entry is its own parent")
