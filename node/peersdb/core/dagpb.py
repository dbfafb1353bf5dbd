"""dag-pb and the UnixFS message inside: the two protobuf messages of IPFS files.

Formats: https://ipld.io/specs/codecs/dag-pb/spec/ and https://specs.ipfs.tech/unixfs/. A node is written with
its links before its data, as go-ipfs has always done, and read only in that order; so is the message.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from peersdb.core.cid import CID, put_varint, take_varint
from peersdb.errors import InvalidBlock, InvalidCID

# UnixFS types.
UNIXFS_RAW = 0
UNIXFS_DIRECTORY = 1
UNIXFS_FILE = 2
UNIXFS_METADATA = 3
UNIXFS_SYMLINK = 4
UNIXFS_HAMT = 5

# Kubo writes 174 or 1,024 links a node; a 2 MiB block could hold 46,000, each an object in memory.
MAX_LINKS = 8192

_VARINT = 0
_BYTES = 2
# The fields' tags: number << 3 | wire type.
_NODE_DATA, _NODE_LINK = 1 << 3 | _BYTES, 2 << 3 | _BYTES
_LINK_HASH, _LINK_NAME, _LINK_TSIZE = 1 << 3 | _BYTES, 2 << 3 | _BYTES, 3 << 3 | _VARINT
_FILE_TYPE, _FILE_DATA, _FILE_SIZE = 1 << 3 | _VARINT, 2 << 3 | _BYTES, 3 << 3 | _VARINT
_FILE_BLOCKSIZE, _FILE_BLOCKSIZES_PACKED = 4 << 3 | _VARINT, 4 << 3 | _BYTES
_FILE_LAST = 8  # 5 to 8: HAMT's hash type and fanout, mode and modification time; read over


@dataclass(frozen=True, slots=True)
class PBLink:
    """A link: the child's CID, its name, and the bytes of all blocks under it (``Tsize``)."""

    cid: CID
    name: str
    tsize: int


@dataclass(frozen=True, slots=True)
class PBNode:
    """A dag-pb node: links, then data."""

    links: tuple[PBLink, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class UnixFS:
    """The UnixFS message in a node's data.

    Attributes:
        type: one of the ``UNIXFS_`` numbers.
        data: content that lies in this node itself.
        filesize: bytes of content in and under the node; None when it is not said.
        blocksizes: bytes of content under each link.
    """

    type: int
    data: bytes
    filesize: int | None
    blocksizes: tuple[int, ...]


def encode_node(node: PBNode) -> bytes:
    """Write a node."""
    out = bytearray()
    for link in node.links:
        name = link.name.encode()
        body = (
            _prefixed(_LINK_HASH, bytes(link.cid))
            + _prefixed(_LINK_NAME, name)
            + bytes((_LINK_TSIZE,))
            + put_varint(link.tsize)
        )
        out += _prefixed(_NODE_LINK, body)
    return bytes(out + _prefixed(_NODE_DATA, node.data))


def decode_node(data: bytes) -> PBNode:
    """Read a node.

    Raises:
        InvalidBlock: it is malformed, out of order, or has too many links.
    """
    links: list[PBLink] = []
    content: bytes | None = None
    for tag, value in _fields(data):
        if content is not None:
            raise InvalidBlock("a dag-pb node goes on after its data")
        if tag == _NODE_LINK and isinstance(value, bytes):
            if len(links) == MAX_LINKS:
                raise InvalidBlock(f"a dag-pb node has more than {MAX_LINKS} links")
            links.append(_link(value))
        elif tag == _NODE_DATA and isinstance(value, bytes):
            content = value
        else:
            raise InvalidBlock(f"a dag-pb node has an unknown field (tag {tag})")
    return PBNode(tuple(links), content or b"")


def encode_unixfs(message: UnixFS) -> bytes:
    """Write the message; an empty ``data`` is left out, as Kubo does."""
    out = bytearray((_FILE_TYPE, *put_varint(message.type)))
    if message.data:
        out += _prefixed(_FILE_DATA, message.data)
    if message.filesize is not None:
        out += bytes((_FILE_SIZE,)) + put_varint(message.filesize)
    for size in message.blocksizes:
        out += bytes((_FILE_BLOCKSIZE,)) + put_varint(size)
    return bytes(out)


def decode_unixfs(data: bytes) -> UnixFS:
    """Read the message; block sizes may be packed.

    Raises:
        InvalidBlock: it is malformed.
    """
    kind: int | None = None
    content: bytes | None = None
    filesize: int | None = None
    blocksizes: list[int] = []
    for tag, value in _fields(data):
        if tag == _FILE_TYPE and kind is None and isinstance(value, int):
            kind = value
        elif tag == _FILE_DATA and content is None and isinstance(value, bytes):
            content = value
        elif tag == _FILE_SIZE and filesize is None and isinstance(value, int):
            filesize = value
        elif tag == _FILE_BLOCKSIZE and isinstance(value, int):
            blocksizes.append(value)
        elif tag == _FILE_BLOCKSIZES_PACKED and isinstance(value, bytes):
            blocksizes.extend(_varints(value))
        elif not 4 < tag >> 3 <= _FILE_LAST:
            raise InvalidBlock(f"a UnixFS message has an unknown or repeated field (tag {tag})")
        if len(blocksizes) > MAX_LINKS:
            raise InvalidBlock(f"a UnixFS message has more than {MAX_LINKS} block sizes")
    if kind is None:
        raise InvalidBlock("a UnixFS message does not say its type")
    return UnixFS(kind, content or b"", filesize, tuple(blocksizes))


def _link(data: bytes) -> PBLink:
    cid: CID | None = None
    name, tsize, last = "", 0, 0
    for tag, value in _fields(data):
        if tag <= last:
            raise InvalidBlock("a dag-pb link's fields are repeated or out of order")
        last = tag
        try:
            if tag == _LINK_HASH and isinstance(value, bytes):
                cid = CID.from_bytes(value)
            elif tag == _LINK_NAME and isinstance(value, bytes):
                name = value.decode()
            elif tag == _LINK_TSIZE and isinstance(value, int):
                tsize = value
            else:
                raise InvalidBlock(f"a dag-pb link has an unknown field (tag {tag})")
        except (InvalidCID, UnicodeDecodeError) as error:
            raise InvalidBlock(f"a dag-pb link is malformed: {error}") from error
    if cid is None:
        raise InvalidBlock("a dag-pb link has no CID")
    return PBLink(cid, name, tsize)


def _prefixed(tag: int, value: bytes) -> bytes:
    return bytes((tag,)) + put_varint(len(value)) + value


def _varints(data: bytes) -> Iterator[int]:
    offset = 0
    while offset < len(data):
        value, offset = _varint(data, offset)
        yield value


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    try:
        return take_varint(data, offset)
    except ValueError as error:
        raise InvalidBlock(f"a protobuf message is malformed: {error}") from error


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (tag, value) of each field; only varints and byte strings occur in these messages."""
    offset = 0
    while offset < len(data):
        tag, offset = _varint(data, offset)
        number, offset = _varint(data, offset)
        if tag & 7 == _VARINT:
            yield tag, number
        elif tag & 7 == _BYTES:
            if number > len(data) - offset:
                raise InvalidBlock("a protobuf message is cut off")
            yield tag, data[offset : offset + number]
            offset += number
        else:
            raise InvalidBlock(f"a protobuf message has a field of wire type {tag & 7}")
