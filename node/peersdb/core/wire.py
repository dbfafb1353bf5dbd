"""What nodes say to each other on ``/peersdb/sync/1``, ``/peersdb/blocks/1`` and ``/peersdb/benchmark/1``.

A stream carries frames: the body's length (4 bytes, big-endian), then the body, one message. A message
is a canonical dag-cbor map of its fields and ``t``, its type; ``t`` sorts first, so type and size are
judged before anything is decoded. Fields are fixed for this protocol version: an unknown one is
refused, a change makes a new protocol name.

The bytes of a block follow its `BlockHeader` on the stream, outside of frames.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, get_args

from peersdb.core import codec
from peersdb.core.cid import CID
from peersdb.core.entry import MAX_ENTRY
from peersdb.core.identity import KEY_SIZE, MAX_IDENTITY, is_hex
from peersdb.errors import InvalidBlock, InvalidCID, InvalidMessage

SYNC_PROTOCOL = "/peersdb/sync/1"
BLOCKS_PROTOCOL = "/peersdb/blocks/1"
BENCHMARK_PROTOCOL = "/peersdb/benchmark/1"

# Four batches of 256 KiB of entries in one: large enough that a round trip costs little, small enough
# that twelve peers at once hold 12 MiB.
MAX_FRAME = 1024 * 1024
LENGTH_SIZE = 4  # bytes before each frame's body

MAX_ENTRIES = 1024  # of one batch; its signatures take 60 ms to check
MAX_IDENTITIES = 1024  # at most one for each entry
MAX_WRITERS = 8192  # 80 bytes each: under 1 MiB
MAX_RECORDS = 64  # of members; 4 KiB each at most
MAX_RECORD = 4 * 1024
MAX_MANIFEST = 1024  # bytes of a manifest's or access controller's block; ours have under 200
MAX_ADDRESS = 128  # characters; "/orbitdb/zdpu…" has 58
MAX_WANTED = 256  # blocks of one request
MAX_CID = 45  # bytes; CIDv1 with the longest codec number
MAX_BLOCK = 2 * 1024 * 1024  # bytes; what IPFS's bitswap takes too
MAX_BENCHMARK = 256 * 1024  # bytes of JSON
MAX_SMALL = 512  # bytes of a message without lists
FINGERPRINT_SIZE = 32
MAX_INT = 2**63 - 1  # what SQLite stores

Check = Callable[[Any], Any]


def _int(least: int, most: int = MAX_INT) -> Check:
    def check(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise InvalidMessage(f"is not a whole number from {least} to {most}")
        return value

    return check


def _bool(value: Any) -> bool:
    if type(value) is not bool:
        raise InvalidMessage("is not true or false")
    return value


def _bytes(most: int, least: int = 0) -> Check:
    def check(value: Any) -> bytes:
        if type(value) is not bytes or not least <= len(value) <= most:
            raise InvalidMessage(f"is not {least} to {most} bytes")
        return value

    return check


def _cid(value: Any) -> bytes:
    if type(value) is not bytes or len(value) > MAX_CID:
        raise InvalidMessage("is not the bytes of a CID")
    try:
        CID.from_bytes(value)
    except InvalidCID as error:
        raise InvalidMessage(f"is not the bytes of a CID: {error}") from error
    return value


def _address(value: Any) -> str | None:
    if value is not None and (type(value) is not str or not 0 < len(value) <= MAX_ADDRESS):
        raise InvalidMessage(f"is not a store's address of at most {MAX_ADDRESS} characters")
    address: str | None = value
    return address


def _key(value: Any) -> str:
    if not is_hex(value, KEY_SIZE):
        raise InvalidMessage("is not an Ed25519 public key in hex")
    key: str = value
    return key


def _many(item: Check, most: int) -> Check:
    def check(value: Any) -> tuple[Any, ...]:
        if type(value) not in (list, tuple) or len(value) > most:
            raise InvalidMessage(f"is not a list of at most {most}")
        return tuple(map(item, value))

    return check


def _writer(value: Any) -> tuple[str, int, int]:
    if type(value) not in (list, tuple) or len(value) != 3:
        raise InvalidMessage("is not a list of [key, epoch, seq]")
    key, epoch, seq = value
    return _key(key), _int(0)(epoch), _int(0)(seq)


@dataclass(frozen=True, slots=True)
class Hello:
    """First on a sync stream, from both sides.

    Attributes:
        version: of what is said here, 1.
        address: of the sender's contributions store; None while it has none.
        manifest: the store's manifest block, or empty.
        access: the store's access controller block, or empty.
        count: how many entries the sender has.
        fingerprint: of the set of these entries, 32 bytes.
        record: the sender's member record, or empty.
    """

    TYPE: ClassVar[str] = "hello"
    MAX_SIZE: ClassVar[int] = MAX_RECORD + 2 * MAX_MANIFEST + MAX_SMALL
    CHECKS: ClassVar[dict[str, Check]] = {
        "version": _int(1),
        "address": _address,
        "manifest": _bytes(MAX_MANIFEST),
        "access": _bytes(MAX_MANIFEST),
        "count": _int(0),
        "fingerprint": _bytes(FINGERPRINT_SIZE, FINGERPRINT_SIZE),
        "record": _bytes(MAX_RECORD),
    }
    version: int
    address: str | None
    manifest: bytes
    access: bytes
    count: int
    fingerprint: bytes
    record: bytes


@dataclass(frozen=True, slots=True)
class Vector:
    """Sent when the fingerprints differ: how far the sender has each writer's chain without a gap.

    Attributes:
        writers: (key in hex, epoch, highest seq up to which nothing is missing).
    """

    TYPE: ClassVar[str] = "vector"
    MAX_SIZE: ClassVar[int] = MAX_FRAME
    CHECKS: ClassVar[dict[str, Check]] = {"writers": _many(_writer, MAX_WRITERS)}
    writers: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class Entries:
    """A batch of entries, parents first, with the identities they name.

    Attributes:
        entries: blocks of entries.
        identities: blocks of identities, each once a message.
        live: True for entries written just now, False when catching up.
        seq: the batch's number on this stream, which `Ack` answers.
    """

    TYPE: ClassVar[str] = "entries"
    MAX_SIZE: ClassVar[int] = MAX_FRAME
    CHECKS: ClassVar[dict[str, Check]] = {
        "entries": _many(_bytes(MAX_ENTRY, 1), MAX_ENTRIES),
        "identities": _many(_bytes(MAX_IDENTITY, 1), MAX_IDENTITIES),
        "live": _bool,
        "seq": _int(0),
    }
    entries: tuple[bytes, ...]
    identities: tuple[bytes, ...]
    live: bool
    seq: int


@dataclass(frozen=True, slots=True)
class Ack:
    """A batch is stored.

    Attributes:
        seq: the batch's number.
        count: how many entries the sender has now.
        fingerprint: of the set of these entries, 32 bytes.
    """

    TYPE: ClassVar[str] = "ack"
    MAX_SIZE: ClassVar[int] = MAX_SMALL
    CHECKS: ClassVar[dict[str, Check]] = {
        "seq": _int(0),
        "count": _int(0),
        "fingerprint": _bytes(FINGERPRINT_SIZE, FINGERPRINT_SIZE),
    }
    seq: int
    count: int
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Heads:
    """What the sender has, said from time to time, so that a silent loss is noticed.

    Attributes:
        count: how many entries.
        fingerprint: of the set of these entries, 32 bytes.
    """

    TYPE: ClassVar[str] = "heads"
    MAX_SIZE: ClassVar[int] = MAX_SMALL
    CHECKS: ClassVar[dict[str, Check]] = {
        "count": _int(0),
        "fingerprint": _bytes(FINGERPRINT_SIZE, FINGERPRINT_SIZE),
    }
    count: int
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Members:
    """Address records of members that the sender knows."""

    TYPE: ClassVar[str] = "members"
    MAX_SIZE: ClassVar[int] = MAX_RECORDS * (MAX_RECORD + 8) + MAX_SMALL
    CHECKS: ClassVar[dict[str, Check]] = {"records": _many(_bytes(MAX_RECORD, 1), MAX_RECORDS)}
    records: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class WriterQuery:
    """Asks how far the receiver has a writer's chain; a node asks for its own before it writes."""

    TYPE: ClassVar[str] = "writer?"
    MAX_SIZE: ClassVar[int] = MAX_SMALL
    CHECKS: ClassVar[dict[str, Check]] = {"key": _key}
    key: str


@dataclass(frozen=True, slots=True)
class WriterAnswer:
    """The highest epoch and seq that the sender has of a writer; seq 0: none."""

    TYPE: ClassVar[str] = "writer"
    MAX_SIZE: ClassVar[int] = MAX_SMALL
    CHECKS: ClassVar[dict[str, Check]] = {"key": _key, "epoch": _int(0), "seq": _int(0)}
    key: str
    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class Want:
    """Asks for blocks; each is answered by one `BlockHeader` with the same id, in any order.

    Attributes:
        id: the request's number on this stream.
        cids: the binary CIDs.
    """

    TYPE: ClassVar[str] = "want"
    MAX_SIZE: ClassVar[int] = MAX_WANTED * (MAX_CID + 8) + MAX_SMALL
    CHECKS: ClassVar[dict[str, Check]] = {"id": _int(0), "cids": _many(_cid, MAX_WANTED)}
    id: int
    cids: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """Says that so many bytes of this block follow on the stream.

    Attributes:
        id: the request's number.
        cid: the binary CID.
        size: the block's bytes; -1: the sender has it not and nothing follows.
    """

    TYPE: ClassVar[str] = "block"
    MAX_SIZE: ClassVar[int] = MAX_SMALL
    CHECKS: ClassVar[dict[str, Check]] = {"id": _int(0), "cid": _cid, "size": _int(-1, MAX_BLOCK)}
    id: int
    cid: bytes
    size: int


@dataclass(frozen=True, slots=True)
class BenchmarkRequest:
    """Asks for the receiver's own benchmark."""

    TYPE: ClassVar[str] = "benchmark?"
    MAX_SIZE: ClassVar[int] = MAX_SMALL
    CHECKS: ClassVar[dict[str, Check]] = {}


@dataclass(frozen=True, slots=True)
class BenchmarkAnswer:
    """The sender's benchmark as JSON; empty when it was started without."""

    TYPE: ClassVar[str] = "benchmark"
    MAX_SIZE: ClassVar[int] = MAX_BENCHMARK + MAX_SMALL
    CHECKS: ClassVar[dict[str, Check]] = {"json": _bytes(MAX_BENCHMARK)}
    json: bytes


Message = (
    Hello
    | Vector
    | Entries
    | Ack
    | Heads
    | Members
    | WriterQuery
    | WriterAnswer
    | Want
    | BlockHeader
    | BenchmarkRequest
    | BenchmarkAnswer
)

_TYPES: dict[str, type[Message]] = {kind.TYPE: kind for kind in get_args(Message)}


def encode(message: Message) -> bytes:
    """Write a message; what the other side would refuse is refused here already.

    Raises:
        InvalidMessage: a field is out of its limits.
    """
    value: dict[str, Any] = {"t": message.TYPE}
    for field in fields(message):
        value[field.name] = _listed(_checked(message, field.name, getattr(message, field.name)))
    data = codec.encode(value)
    if len(data) > message.MAX_SIZE:
        raise InvalidMessage(
            f"a {message.TYPE} message of {len(data)} bytes is too large, at most {message.MAX_SIZE} are sent"
        )
    return data


def decode(data: bytes) -> Message:
    """Read the one message of a frame's body.

    Raises:
        InvalidMessage: it is malformed, unknown, too large or has a field out of its limits.
    """
    kind = _peek(data)
    try:
        value = codec.decode(data, kind.MAX_SIZE)
    except InvalidBlock as error:
        raise InvalidMessage(f"a {kind.TYPE} message is unreadable: {error}") from error
    if value.keys() != {"t", *kind.CHECKS}:
        raise InvalidMessage(f"a {kind.TYPE} message has not the fields {', '.join(kind.CHECKS) or '(none)'}")
    return kind(**{name: _checked(kind, name, value[name]) for name in kind.CHECKS})


def frame(body: bytes) -> bytes:
    """Put the length before a message.

    Raises:
        InvalidMessage: the body is larger than a frame may be.
    """
    if len(body) > MAX_FRAME:
        raise InvalidMessage(f"a frame of {len(body)} bytes is too large, at most {MAX_FRAME} are sent")
    return len(body).to_bytes(LENGTH_SIZE) + body


def frame_length(header: bytes, limit: int = MAX_FRAME) -> int:
    """Read the 4 bytes before a frame's body.

    Raises:
        InvalidMessage: the header is cut off, or the body is empty or larger than the limit.
    """
    if len(header) != LENGTH_SIZE:
        raise InvalidMessage(f"a frame starts with {LENGTH_SIZE} bytes of length, not {len(header)}")
    length = int.from_bytes(header)
    if not 0 < length <= limit:
        raise InvalidMessage(f"a frame of {length} bytes is refused, it has 1 to {limit}")
    return length


def _peek(data: bytes) -> type[Message]:
    # a map of at most 23 keys, the text key "t", a text of at most 23 bytes
    if len(data) < 4 or data[0] >> 5 != 5 or data[1:3] != b"\x61t" or not 0x60 <= data[3] <= 0x77:
        raise InvalidMessage("the frame is not a message of this protocol")
    name = data[4 : 4 + data[3] - 0x60]
    kind = _TYPES.get(name.decode("ascii", "replace"))
    if kind is None:
        raise InvalidMessage(f"the message type {name!r} is unknown to this version")
    return kind


def _checked(kind: Message | type[Message], name: str, value: Any) -> Any:
    try:
        return kind.CHECKS[name](value)
    except InvalidMessage as error:
        raise InvalidMessage(f"{kind.TYPE}.{name} {error}") from error


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if type(value) is tuple else value
