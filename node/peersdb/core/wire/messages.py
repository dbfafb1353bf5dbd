"""The messages: one frozen class each, with its name, its largest size and a check for each field."""

from dataclasses import dataclass
from typing import ClassVar

from peersdb.core.ballots import MAX_BALLOT
from peersdb.core.entry import MAX_ENTRY
from peersdb.core.identity import MAX_IDENTITY
from peersdb.core.wire.checks import (
    Check,
    check_address,
    check_bool,
    check_bytes,
    check_chain,
    check_cid,
    check_int,
    check_key,
    check_many,
    check_range,
    check_writer,
)
from peersdb.core.wire.limits import (
    FINGERPRINT_SIZE,
    MAX_BALLOT_BYTES,
    MAX_BALLOTS,
    MAX_BENCHMARK,
    MAX_BLOCK,
    MAX_CHAINS,
    MAX_CID,
    MAX_ENTRIES,
    MAX_FRAME,
    MAX_IDENTITIES,
    MAX_ITEMS,
    MAX_MANIFEST,
    MAX_RANGES,
    MAX_RECORD,
    MAX_RECORDS,
    MAX_SMALL,
    MAX_WANTED,
    MAX_WRITERS,
)


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
        "version": check_int(1),
        "address": check_address,
        "manifest": check_bytes(MAX_MANIFEST),
        "access": check_bytes(MAX_MANIFEST),
        "count": check_int(0),
        "fingerprint": check_bytes(FINGERPRINT_SIZE, FINGERPRINT_SIZE),
        "record": check_bytes(MAX_RECORD),
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
    CHECKS: ClassVar[dict[str, Check]] = {"writers": check_many(check_writer, MAX_WRITERS)}
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
        "entries": check_many(check_bytes(MAX_ENTRY, 1), MAX_ENTRIES),
        "identities": check_many(check_bytes(MAX_IDENTITY, 1), MAX_IDENTITIES),
        "live": check_bool,
        "seq": check_int(0),
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
        "seq": check_int(0),
        "count": check_int(0),
        "fingerprint": check_bytes(FINGERPRINT_SIZE, FINGERPRINT_SIZE),
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
        "count": check_int(0),
        "fingerprint": check_bytes(FINGERPRINT_SIZE, FINGERPRINT_SIZE),
    }
    count: int
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Members:
    """Address records of members that the sender knows."""

    TYPE: ClassVar[str] = "members"
    MAX_SIZE: ClassVar[int] = MAX_RECORDS * (MAX_RECORD + 8) + MAX_SMALL
    CHECKS: ClassVar[dict[str, Check]] = {"records": check_many(check_bytes(MAX_RECORD, 1), MAX_RECORDS)}
    records: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Ranges:
    """What the sender has in ranges of the log's order, when version vectors do not explain a difference.

    Attributes:
        ranges: (time, digest) inclusive to (time, digest) exclusive, how many entries, their fingerprint.
    """

    TYPE: ClassVar[str] = "ranges"
    MAX_SIZE: ClassVar[int] = MAX_RANGES * 160 + MAX_SMALL
    CHECKS: ClassVar[dict[str, Check]] = {"ranges": check_many(check_range, MAX_RANGES)}
    ranges: tuple[tuple[int, bytes, int, bytes, int, bytes], ...]


@dataclass(frozen=True, slots=True)
class RangeItems:
    """All that the sender has in a range that is small enough to be told item by item.

    Attributes:
        range: its bounds, count and fingerprint, as in `Ranges`.
        digests: of the entries, 32 bytes each.
    """

    TYPE: ClassVar[str] = "items"
    MAX_SIZE: ClassVar[int] = MAX_ITEMS * 40 + MAX_SMALL
    CHECKS: ClassVar[dict[str, Check]] = {
        "range": check_range,
        "digests": check_many(check_bytes(FINGERPRINT_SIZE, FINGERPRINT_SIZE), MAX_ITEMS),
    }
    range: tuple[int, bytes, int, bytes, int, bytes]
    digests: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class WantEntries:
    """Asks for entries by their digests; what the receiver has of them comes as `Entries`."""

    TYPE: ClassVar[str] = "entries?"
    MAX_SIZE: ClassVar[int] = MAX_ITEMS * 40 + MAX_SMALL
    CHECKS: ClassVar[dict[str, Check]] = {
        "digests": check_many(check_bytes(FINGERPRINT_SIZE, FINGERPRINT_SIZE), MAX_ITEMS)
    }
    digests: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Have:
    """Announces entries by their digests, in the place of pushing them."""

    TYPE: ClassVar[str] = "have"
    MAX_SIZE: ClassVar[int] = MAX_ITEMS * 40 + MAX_SMALL
    CHECKS: ClassVar[dict[str, Check]] = {
        "digests": check_many(check_bytes(FINGERPRINT_SIZE, FINGERPRINT_SIZE), MAX_ITEMS)
    }
    digests: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Prune:
    """Asks that entries of these writers be announced and not pushed: they come sooner from others.

    Attributes:
        writers: keys in hex.
    """

    TYPE: ClassVar[str] = "prune"
    MAX_SIZE: ClassVar[int] = MAX_ENTRIES * 68 + MAX_SMALL
    CHECKS: ClassVar[dict[str, Check]] = {"writers": check_many(check_key, MAX_ENTRIES)}
    writers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Graft:
    """Takes all `Prune` back: entries of all writers are wanted as soon as they are there."""

    TYPE: ClassVar[str] = "graft"
    MAX_SIZE: ClassVar[int] = MAX_SMALL
    CHECKS: ClassVar[dict[str, Check]] = {}


@dataclass(frozen=True, slots=True)
class WriterQuery:
    """Asks how far the receiver has a writer's chain; a node asks for its own before it writes."""

    TYPE: ClassVar[str] = "writer?"
    MAX_SIZE: ClassVar[int] = MAX_SMALL
    CHECKS: ClassVar[dict[str, Check]] = {"key": check_key}
    key: str


@dataclass(frozen=True, slots=True)
class WriterAnswer:
    """The highest epoch and seq that the sender has of a writer; seq 0: none."""

    TYPE: ClassVar[str] = "writer"
    MAX_SIZE: ClassVar[int] = MAX_SMALL
    CHECKS: ClassVar[dict[str, Check]] = {"key": check_key, "epoch": check_int(0), "seq": check_int(0)}
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
    CHECKS: ClassVar[dict[str, Check]] = {"id": check_int(0), "cids": check_many(check_cid, MAX_WANTED)}
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
    CHECKS: ClassVar[dict[str, Check]] = {
        "id": check_int(0),
        "cid": check_cid,
        "size": check_int(-1, MAX_BLOCK),
    }
    id: int
    cid: bytes
    size: int


@dataclass(frozen=True, slots=True)
class VoteRequest:
    """Asks for the receiver's own vote on a file.

    Attributes:
        cid: the file's binary CID.
    """

    TYPE: ClassVar[str] = "vote?"
    MAX_SIZE: ClassVar[int] = MAX_SMALL
    CHECKS: ClassVar[dict[str, Check]] = {"cid": check_cid}
    cid: bytes


@dataclass(frozen=True, slots=True)
class VoteAnswer:
    """The sender's ballot on the file (`core.ballots`); empty when it has not judged the file itself."""

    TYPE: ClassVar[str] = "vote"
    MAX_SIZE: ClassVar[int] = MAX_BALLOT + MAX_SMALL
    CHECKS: ClassVar[dict[str, Check]] = {"ballot": check_bytes(MAX_BALLOT)}
    ballot: bytes


@dataclass(frozen=True, slots=True)
class VoteHeads:
    """What the sender has of all voters' chains, in one number; said after the hello and from time to time."""

    TYPE: ClassVar[str] = "vheads"
    MAX_SIZE: ClassVar[int] = MAX_SMALL
    CHECKS: ClassVar[dict[str, Check]] = {"fingerprint": check_bytes(FINGERPRINT_SIZE, FINGERPRINT_SIZE)}
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class VoteVector:
    """Sent where that differs: how far the sender has each voter's chain. It asks for `Ballots` beyond.

    Attributes:
        chains: (key, epoch, seq, the first bytes of the last ballot's hash).
    """

    TYPE: ClassVar[str] = "vvector"
    MAX_SIZE: ClassVar[int] = MAX_FRAME
    CHECKS: ClassVar[dict[str, Check]] = {"chains": check_many(check_chain, MAX_CHAINS)}
    chains: tuple[tuple[bytes, int, int, bytes], ...]


@dataclass(frozen=True, slots=True)
class Ballots:
    """Ballots, those of one chain in its order.

    Attributes:
        ballots: as signed.
        live: pushed, and not an answer to a `VoteVector`.
        more: there are more: ask again.
    """

    TYPE: ClassVar[str] = "ballots"
    MAX_SIZE: ClassVar[int] = MAX_BALLOT_BYTES + MAX_BALLOT + MAX_BALLOTS * 8 + MAX_SMALL
    CHECKS: ClassVar[dict[str, Check]] = {
        "ballots": check_many(check_bytes(MAX_BALLOT, 1), MAX_BALLOTS),
        "live": check_bool,
        "more": check_bool,
    }
    ballots: tuple[bytes, ...]
    live: bool
    more: bool


@dataclass(frozen=True, slots=True)
class Equivocation:
    """Two ballots that contradict each other: their voter counts no more."""

    TYPE: ClassVar[str] = "twofold"
    MAX_SIZE: ClassVar[int] = 2 * MAX_BALLOT + MAX_SMALL
    CHECKS: ClassVar[dict[str, Check]] = {
        "one": check_bytes(MAX_BALLOT, 1),
        "other": check_bytes(MAX_BALLOT, 1),
    }
    one: bytes
    other: bytes


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
    CHECKS: ClassVar[dict[str, Check]] = {"json": check_bytes(MAX_BENCHMARK)}
    json: bytes


Message = (
    Hello
    | Vector
    | Entries
    | Ack
    | Heads
    | Members
    | Ranges
    | RangeItems
    | WantEntries
    | Have
    | Prune
    | Graft
    | WriterQuery
    | WriterAnswer
    | Want
    | BlockHeader
    | VoteRequest
    | VoteAnswer
    | VoteHeads
    | VoteVector
    | Ballots
    | Equivocation
    | BenchmarkRequest
    | BenchmarkAnswer
)
