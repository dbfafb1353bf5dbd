"""The CID that a file gets when a node takes it, computed apart from the node.

``post`` answers only "File uploaded": to look for the new entry in other nodes' queries its path must be
known. Computing it here, by the standard library alone, needs no search, and checks the node's own
arithmetic.

The profile is ``unixfs-v1-2025``: CIDv1, sha2-256, chunks of 1 MiB as raw leaves, balanced tree of at most
1024 links per node. One chunk is its own root. Formats: CIDv1 (multiformats/cid), dag-pb and UnixFS
(ipld.io/specs/codecs/dag-pb, specs.ipfs.tech/unixfs).
"""

import base64
import hashlib

CHUNK = 1 << 20
MAX_LINKS = 1024

_RAW, _DAG_PB = 0x55, 0x70
_UNIXFS_FILE = 2


def file_cid(data: bytes) -> str:
    """The CID of a file's content, in base32 as ``query`` shows it.

    Raises:
        ValueError: the content needs a tree of more than one level (over 1 GiB).
    """
    if len(data) <= CHUNK:
        return _text(_cid(_RAW, data))
    view = memoryview(data)
    chunks = [view[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
    if len(chunks) > MAX_LINKS:
        raise ValueError("files over 1 GiB are not part of a load test")
    links = b"".join(
        _field(2, _field(1, _cid(_RAW, chunk)) + _field(2, b"") + _number(3, len(chunk))) for chunk in chunks
    )
    meta = _number(1, _UNIXFS_FILE) + _number(3, len(data))
    meta += b"".join(_number(4, len(chunk)) for chunk in chunks)
    return _text(_cid(_DAG_PB, links + _field(1, meta)))


def _cid(codec: int, block: bytes | memoryview) -> bytes:
    return bytes([1, codec, 0x12, 0x20]) + hashlib.sha256(block).digest()


def _text(cid: bytes) -> str:
    return "b" + base64.b32encode(cid).decode("ascii").lower().rstrip("=")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, payload: bytes) -> bytes:
    """A protobuf field of bytes."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _number(number: int, value: int) -> bytes:
    """A protobuf field of a varint."""
    return _varint(number << 3) + _varint(value)
