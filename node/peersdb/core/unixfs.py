"""Files as IPFS stores them: a balanced tree of blocks, the same CIDs as ``ipfs add`` of Kubo.

Format: https://specs.ipfs.tech/unixfs/. Leaves hold the content in chunks of one size; every inner node is
filled to ``max_links`` before the next begins, and all leaves lie at one depth. A file of one chunk is its
leaf alone.
"""

from dataclasses import dataclass

from peersdb.core import dagpb
from peersdb.core.cid import CID, DAG_PB, RAW, Block
from peersdb.errors import InvalidBlock

__all__ = [
    "CID_V0",
    "PROFILES",
    "UNIXFS_V1_2025",
    "Block",
    "FileBuilder",
    "Link",
    "Node",
    "Profile",
    "build_file",
    "read_node",
]

MAX_SIZE = 2**63 - 1  # bytes of a file; what SQLite and Go store


@dataclass(frozen=True, slots=True)
class Profile:
    """How files are cut; two nodes give a file one CID only with the same profile.

    Attributes:
        name: its name in settings.
        cid_version: 0 or 1.
        chunk_size: bytes of each leaf's content but the last.
        raw_leaves: leaves are the content itself, not wrapped in dag-pb.
        max_links: the most children of a node.
    """

    name: str
    cid_version: int
    chunk_size: int
    raw_leaves: bool
    max_links: int


# The profile of IPIP-499, https://github.com/ipfs/specs/pull/499.
UNIXFS_V1_2025 = Profile("unixfs-v1-2025", 1, 1024 * 1024, True, 1024)
# What ``ipfs add`` has done by default since 2015, and the original PeersDB with it.
CID_V0 = Profile("unixfs-v0-2015", 0, 256 * 1024, False, 174)
PROFILES = {profile.name: profile for profile in (UNIXFS_V1_2025, CID_V0)}


@dataclass(frozen=True, slots=True)
class Link:
    """A child and the bytes of content in and under it."""

    cid: CID
    size: int


@dataclass(frozen=True, slots=True)
class Node:
    """A block of a file: its own content comes before that of its links.

    Attributes:
        links: the children, in the content's order.
        data: content in the block itself.
        size: bytes of content in and under it.
    """

    links: tuple[Link, ...]
    data: bytes
    size: int


@dataclass(frozen=True, slots=True)
class _Child:
    cid: CID
    size: int  # of content
    tsize: int  # of all blocks


class FileBuilder:
    """Cuts content that comes in pieces; holds one chunk and the CIDs of the nodes not yet full.

    Every block is returned once, children before parents, the root last. Feed pieces of at most a few
    chunks: the blocks of one piece are returned together.
    """

    def __init__(self, profile: Profile = UNIXFS_V1_2025) -> None:
        """Begin an empty file."""
        self._profile = profile
        self._buffer = bytearray()
        self._levels: list[list[_Child]] = [[]]
        self._size = 0
        self._finished = False

    def feed(self, data: bytes | memoryview) -> list[Block]:
        """Take the next piece of content.

        Returns:
            The blocks that are complete now.

        Raises:
            ValueError: the file is finished already.
        """
        if self._finished:
            raise ValueError("the file is finished; begin another FileBuilder")
        blocks: list[Block] = []
        chunk_size = self._profile.chunk_size
        if not self._buffer and len(data) == chunk_size and isinstance(data, bytes):
            self._leaf(data, blocks)  # the usual piece, without a copy
            return blocks
        view = memoryview(data).cast("B")
        offset = 0
        while offset < len(view):
            if not self._buffer and len(view) - offset >= chunk_size:
                self._leaf(bytes(view[offset : offset + chunk_size]), blocks)
                offset += chunk_size
                continue
            piece = view[offset : offset + chunk_size - len(self._buffer)]
            self._buffer += piece
            offset += len(piece)
            if len(self._buffer) == chunk_size:
                self._leaf(bytes(self._buffer), blocks)
                self._buffer.clear()
        return blocks

    def finish(self) -> tuple[CID, int, list[Block]]:
        """End the file.

        Returns:
            Its CID, the bytes of its content, and the blocks not returned yet.

        Raises:
            ValueError: the file is finished already.
        """
        if self._finished:
            raise ValueError("the file is finished; begin another FileBuilder")
        self._finished = True
        blocks: list[Block] = []
        if self._buffer or self._size == 0:
            self._leaf(bytes(self._buffer), blocks)
            self._buffer.clear()
        level = 0
        # Close what is open from the leaves up, until one child is left alone at the top.
        while level + 1 < len(self._levels) or len(self._levels[level]) > 1:
            if self._levels[level]:
                self._close(level, blocks)
            level += 1
        return self._levels[level][0].cid, self._size, blocks

    def _leaf(self, content: bytes, blocks: list[Block]) -> None:
        if self._profile.raw_leaves:
            codec, data = RAW, content
        else:
            message = dagpb.UnixFS(dagpb.UNIXFS_FILE, content, len(content), ())
            codec, data = DAG_PB, dagpb.encode_node(dagpb.PBNode((), dagpb.encode_unixfs(message)))
        self._size += len(content)
        self._add(0, Block(CID.of(data, codec, self._version(codec)), data), len(content), len(data), blocks)

    def _close(self, level: int, blocks: list[Block]) -> None:
        children, self._levels[level] = self._levels[level], []
        size = sum(child.size for child in children)
        message = dagpb.UnixFS(dagpb.UNIXFS_FILE, b"", size, tuple(child.size for child in children))
        links = tuple(dagpb.PBLink(child.cid, "", child.tsize) for child in children)
        data = dagpb.encode_node(dagpb.PBNode(links, dagpb.encode_unixfs(message)))
        block = Block(CID.of(data, DAG_PB, self._version(DAG_PB)), data)
        self._add(level + 1, block, size, sum(child.tsize for child in children) + len(data), blocks)

    def _add(self, level: int, block: Block, size: int, tsize: int, blocks: list[Block]) -> None:
        blocks.append(block)
        if level == len(self._levels):
            self._levels.append([])
        self._levels[level].append(_Child(block.cid, size, tsize))
        if len(self._levels[level]) == self._profile.max_links:
            self._close(level, blocks)

    def _version(self, codec: int) -> int:
        # A raw leaf has no CID of version 0, whatever the profile says (as in Kubo).
        return 1 if codec == RAW else self._profile.cid_version


def build_file(data: bytes, profile: Profile = UNIXFS_V1_2025) -> tuple[CID, int, list[Block]]:
    """Cut content that lies in memory: its CID, its size and all its blocks, the root last."""
    builder = FileBuilder(profile)
    blocks = builder.feed(data)
    cid, size, rest = builder.finish()
    return cid, size, blocks + rest


def read_node(cid: CID, data: bytes) -> Node:
    """Read one block of a file. Whether it hashes to its CID is `CID.verify`'s to say.

    Raises:
        InvalidBlock: it is malformed, contradicts itself, or is no file.
    """
    if cid.codec == RAW:
        return Node((), data, len(data))
    if cid.codec != DAG_PB:
        raise InvalidBlock(f"{cid} has the codec {cid.codec:#x}; files have raw or dag-pb blocks")
    node = dagpb.decode_node(data)
    message = dagpb.decode_unixfs(node.data)
    if message.type in (dagpb.UNIXFS_DIRECTORY, dagpb.UNIXFS_HAMT):
        raise InvalidBlock(f"{cid} is a directory; directories are not supported yet, name a file in it")
    if message.type not in (dagpb.UNIXFS_FILE, dagpb.UNIXFS_RAW):
        raise InvalidBlock(f"{cid} is no file (UnixFS type {message.type}); only files are supported yet")
    if len(message.blocksizes) != len(node.links):
        raise InvalidBlock(f"{cid} has {len(node.links)} links, but {len(message.blocksizes)} block sizes")
    size = len(message.data) + sum(message.blocksizes)
    if size > MAX_SIZE:
        raise InvalidBlock(f"{cid} says it has {size} bytes; files have no more than 2**63 - 1")
    if message.filesize not in (size, None):
        raise InvalidBlock(f"{cid} says it has {message.filesize} bytes, its parts have {size}")
    links = tuple(
        Link(link.cid, link_size) for link, link_size in zip(node.links, message.blocksizes, strict=True)
    )
    return Node(links, message.data, size)
