"""Content identifiers: the names of blocks.

A CID is ``version, codec, multihash`` (https://github.com/multiformats/cid). Only sha2-256 is
spoken here: it is what ``ipfs add`` and OrbitDB make, and one function means one way to check.
"""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple, Self

import libipld

from peersdb.errors import BlockMismatch, InvalidCID

RAW = 0x55
DAG_PB = 0x70
DAG_CBOR = 0x71

SHA2_256 = b"\x12\x20"  # multihash prefix: the code of sha2-256 and its length, 32
MULTIHASH_SIZE = 34

# The longest text accepted: base16 of version, a codec of 9 bytes and the multihash is 89 characters.
MAX_TEXT = 96
# Unsigned varints of the multiformats family have at most 9 bytes, 63 bits.
MAX_VARINT = 9

_DAG_CBOR_PREFIX = b"\x01\x71" + SHA2_256
_HASH_LENGTH = 49  # base58btc of 36 bytes that start with 1, and the z
_V0_LENGTH = 46  # base58btc of a sha2-256 multihash
_BASES = {"b": "base32", "z": "base58btc", "f": "base16"}


def put_varint(value: int) -> bytes:
    """Encode an unsigned varint: 7 bits a byte, lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def take_varint(data: bytes, offset: int) -> tuple[int, int]:
    """Decode an unsigned varint in its shortest form.

    Returns:
        The value and the offset behind it.

    Raises:
        ValueError: it is cut off, longer than 9 bytes, or padded with zeros.
    """
    value = 0
    for position in range(offset, min(offset + MAX_VARINT, len(data))):
        byte = data[position]
        value |= (byte & 0x7F) << 7 * (position - offset)
        if byte < 0x80:
            if byte == 0 and position > offset:
                raise ValueError("a varint is not in its shortest form")
            return value, position + 1
    raise ValueError("a varint is cut off or too long")


@dataclass(frozen=True, slots=True)
class CID:
    """A content identifier: immutable, hashable, checked when made.

    Attributes:
        version: 0 (``Qm…``: always dag-pb) or 1.
        codec: how the block is encoded, a multicodec number.
        multihash: the sha2-256 multihash of the block, 34 bytes.
    """

    version: int
    codec: int
    multihash: bytes

    def __post_init__(self) -> None:
        if len(self.multihash) != MULTIHASH_SIZE or self.multihash[:2] != SHA2_256:
            raise InvalidCID("the CID's hash is not sha2-256; only sha2-256 is supported")
        if self.version not in (0, 1):
            raise InvalidCID(f"CID version {self.version} is not supported, only 0 and 1")
        if self.version == 0 and self.codec != DAG_PB:
            raise InvalidCID("a CID of version 0 always has the codec dag-pb; use version 1")

    @classmethod
    def of(cls, data: bytes | memoryview, codec: int = RAW, version: int = 1) -> Self:
        """Name a block."""
        return cls(version, codec, SHA2_256 + hashlib.sha256(data).digest())

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode the binary form; nothing may follow it.

        Raises:
            InvalidCID: they are no CID, or one with another hash than sha2-256.
        """
        if data[:2] == SHA2_256:
            return cls(0, DAG_PB, data)
        try:
            version, offset = take_varint(data, 0)
            codec, offset = take_varint(data, offset)
        except ValueError as error:
            raise InvalidCID(f"the bytes are no CID: {error}") from error
        if version != 1:
            raise InvalidCID(f"CID version {version} is not supported, only 0 and 1")
        return cls(1, codec, data[offset:])

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a CID as people write it: ``Qm…``, or multibase ``b…``, ``z…``, ``f…``.

        Raises:
            InvalidCID: the text is no CID in one of these forms.
        """
        if len(text) > MAX_TEXT:
            raise InvalidCID(f"a CID of {len(text)} characters is too long, at most {MAX_TEXT} are")
        if len(text) == _V0_LENGTH and text.startswith("Qm"):
            return cls(0, DAG_PB, _from_multibase("z" + text))
        if text[:1] not in _BASES:
            raise InvalidCID(f"{text!r} is no CID: it starts neither with Qm nor with one of b, z, f")
        cid = cls.from_bytes(_from_multibase(text))
        if cid.version != 1:
            raise InvalidCID(f"{text!r} is a CID of version 0 with a base before it: write it as {cid}")
        return cid

    @property
    def digest(self) -> bytes:
        """The sha2-256 hash alone, 32 bytes."""
        return self.multihash[2:]

    def verify(self, data: bytes | memoryview) -> None:
        """Check that a block is the one this CID names.

        Raises:
            BlockMismatch: it is not.
        """
        if hashlib.sha256(data).digest() != self.multihash[2:]:
            raise BlockMismatch(f"the block of {len(data)} bytes does not hash to {self}")

    def __bytes__(self) -> bytes:
        if self.version == 0:
            return self.multihash
        return b"\x01" + put_varint(self.codec) + self.multihash

    def __str__(self) -> str:
        if self.version == 0:
            return _to_multibase("z", self.multihash)[1:]
        # OrbitDB writes its dag-cbor CIDs in base58btc (zdpu…), IPFS everything else in base32.
        return _to_multibase("z" if self.codec == DAG_CBOR else "b", bytes(self))


class Block(NamedTuple):
    """A block and its name."""

    cid: CID
    data: bytes


def hash_of(data: bytes) -> str:
    """Name a dag-cbor block as OrbitDB does: its CIDv1 in base58btc, ``zdpu…``."""
    return _to_multibase("z", _DAG_CBOR_PREFIX + hashlib.sha256(data).digest())


def hash_bytes(text: str) -> bytes:
    """Read such a name (``zdpu…``) as the 36 bytes of its CID; faster than `CID.parse`.

    Raises:
        InvalidCID: it is none.
    """
    if len(text) != _HASH_LENGTH or not text.startswith("zdpu"):
        raise InvalidCID(f"{text[:MAX_TEXT]!r} is no CID of a dag-cbor block in base58btc (zdpu…)")
    try:
        data = bytes(libipld.decode_multibase(text)[1])
    except ValueError as error:
        raise InvalidCID(f"{text!r} is no CID: not base58btc") from error
    # Base58 of a number without leading zeros has one form only, so it needs no second encoding.
    if len(data) != 36 or data[:4] != _DAG_CBOR_PREFIX:
        raise InvalidCID(f"{text!r} is no CID of a dag-cbor block with sha2-256")
    return data


def is_hash(value: object) -> bool:
    """Say whether a value is the name of a dag-cbor block in base58btc."""
    if type(value) is not str:
        return False
    try:
        hash_bytes(value)
    except InvalidCID:
        return False
    return True


def parse_path(text: str) -> CID:
    """Read ``/ipfs/<cid>`` or ``<cid>``; one slash at the end is tolerated.

    Raises:
        InvalidCID: there is no CID, or something follows it.
    """
    # The limit comes before any splitting: the text may be a whole request body.
    if len(text) > MAX_TEXT + len("/ipfs//"):
        raise InvalidCID(f"a path of {len(text)} characters is too long: write /ipfs/<cid>")
    name, _, rest = text.removeprefix("/ipfs/").partition("/")
    if rest:
        raise InvalidCID(f"{text!r} goes on after the CID; sub-paths are not supported: write /ipfs/{name}")
    return CID.parse(name)


def ipfs_path(cid: CID) -> str:
    """Write a CID as the path ``/ipfs/<cid>``."""
    return f"/ipfs/{cid}"


def _to_multibase(base: str, data: bytes) -> str:
    text: str = libipld.encode_multibase(base, data)
    return text


def _from_multibase(text: str) -> bytes:
    try:
        base, data = libipld.decode_multibase(text)
    except ValueError as error:
        raise InvalidCID(f"{text!r} is no CID: not {_BASES[text[0]]}") from error
    raw = bytes(data)
    # One text for one CID: paddings, stray bits and capitals would make aliases.
    if _to_multibase(base, raw) != text:
        raise InvalidCID(f"{text!r} is no CID: not strict {_BASES[text[0]]}")
    return raw
