"""Address records: each member says, signed, where it can be dialled.

A record is canonical dag-cbor ``{peer, addrs, seq, root, region, sig}``. The signature covers
``b"peersdb-member-v1:"`` and the dag-cbor of the other fields; the prefix keeps it from being taken for a
signature of something else. The key is read out of the peer id.
"""

from dataclasses import dataclass
from typing import Any

from peersdb.core import codec
from peersdb.core.identity import SIGNATURE_SIZE, Signer, public_key_of, verify_signature
from peersdb.errors import InvalidBlock, InvalidData, InvalidRecord

MAX_RECORD = 4 * 1024  # bytes; fits 16 usual multiaddrs four times over
MAX_ADDRS = 16  # a machine with more interfaces says its best ones
MAX_ADDR = 256  # characters; a DNS name of 253 needs a shorter one
MAX_REGION = 63  # characters; what a Kubernetes label value holds
MAX_SEQ = 2**63 - 1

_DOMAIN = b"peersdb-member-v1:"
_FIELDS = frozenset(("peer", "addrs", "seq", "root", "region", "sig"))


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """A verified record.

    Attributes:
        peer_id: whose it is; it has signed it.
        addrs: multiaddrs as text, best first; they are checked only when dialled.
        seq: nanoseconds since 1970 when it was made; of two records the higher one holds.
        root: whether the member is a root.
        region: the member's region, or empty.
        sig: the signature, 64 bytes.
        data: the record as it is sent.
    """

    peer_id: str
    addrs: tuple[str, ...]
    seq: int
    root: bool
    region: str
    sig: bytes
    data: bytes


def create_record(signer: Signer, addrs: tuple[str, ...], seq: int, root: bool, region: str) -> MemberRecord:
    """Sign a record of the signer's own.

    Raises:
        InvalidRecord: a field is out of its limits.
    """
    fields: dict[str, Any] = {
        "peer": signer.peer_id,
        "addrs": list(addrs),
        "seq": seq,
        "root": root,
        "region": region,
    }
    try:
        sig = signer.sign(_DOMAIN + codec.encode(fields))
        data = codec.encode({**fields, "sig": sig})
    except InvalidBlock as error:
        raise InvalidRecord(f"the member record cannot be written: {error}") from error
    return decode_record(data)


def decode_record(data: bytes) -> MemberRecord:
    """Read a record and check its signature.

    Raises:
        InvalidRecord: it is malformed, out of its limits or not signed by its member.
    """
    try:
        value = codec.decode(data, MAX_RECORD)
    except InvalidBlock as error:
        raise InvalidRecord(f"the member record is unreadable: {error}") from error
    if type(value) is not dict or value.keys() != _FIELDS:
        raise InvalidRecord("the member record has not the fields peer, addrs, seq, root, region, sig")
    _check_fields(value)
    sig = value.pop("sig")
    peer_id = value["peer"]
    try:
        public_key = public_key_of(peer_id)
    except InvalidData as error:
        raise InvalidRecord(f"peer: {error}") from error
    if not verify_signature(public_key, _DOMAIN + codec.encode(value), sig):
        raise InvalidRecord(f"the member record is not signed by {peer_id}")
    return MemberRecord(
        peer_id, tuple(value["addrs"]), value["seq"], value["root"], value["region"], sig, data
    )


def _check_fields(value: dict[str, Any]) -> None:
    addrs, seq, region, sig = value["addrs"], value["seq"], value["region"], value["sig"]
    if type(addrs) is not list or len(addrs) > MAX_ADDRS or not all(map(_is_addr, addrs)):
        raise InvalidRecord(f"addrs is not a list of at most {MAX_ADDRS} multiaddrs of {MAX_ADDR} characters")
    if type(seq) is not int or not 0 <= seq <= MAX_SEQ:
        raise InvalidRecord("seq is not a time in nanoseconds since 1970")
    if type(value["root"]) is not bool:
        raise InvalidRecord("root is not true or false")
    if type(region) is not str or len(region) > MAX_REGION or not (region.isprintable() and region.isascii()):
        raise InvalidRecord(f"region is not printable ASCII of at most {MAX_REGION} characters")
    if type(sig) is not bytes or len(sig) != SIGNATURE_SIZE:
        raise InvalidRecord("sig is not a signature of 64 bytes")
    if type(value["peer"]) is not str:
        raise InvalidRecord("peer is not a peer id")


def _is_addr(addr: Any) -> bool:
    return (
        type(addr) is str
        and addr.startswith("/")
        and len(addr) <= MAX_ADDR
        and addr.isascii()
        and addr.isprintable()
    )
