"""UnixFS: the CIDs of Kubo, flat memory, and files that contradict themselves."""

import hashlib
from dataclasses import replace

import pytest
from core_kubo_goldens import KUBO
from hypothesis import given
from hypothesis import strategies as st

from peersdb.core import dagpb
from peersdb.core.cid import CID, DAG_CBOR, DAG_PB, put_varint
from peersdb.core.unixfs import (
    CID_V0,
    PROFILES,
    UNIXFS_V1_2025,
    FileBuilder,
    Profile,
    build_file,
    read_node,
)
from peersdb.errors import InvalidBlock

SMALL = Profile("small", 1, 64, True, 3)


def content(size):
    blocks = (hashlib.sha256(i.to_bytes(8)).digest() for i in range(size // 32 + 1))
    return b"".join(blocks)[:size]


def read_file(root, blocks):
    """Read a file back, checking every block; the order is that of the content."""
    store = {block.cid: block.data for block in blocks}
    out = bytearray()
    todo = [(root, None)]
    while todo:
        cid, size = todo.pop()
        cid.verify(store[cid])
        node = read_node(cid, store[cid])
        assert size in (None, node.size)
        out += node.data
        todo.extend((link.cid, link.size) for link in reversed(node.links))
    return bytes(out)


@pytest.mark.parametrize(
    ("name", "size", "cid"),
    [(name, size, cid) for name, (_, cids) in KUBO.items() for size, cid in cids.items()],
)
def test_a_file_has_the_cid_that_kubo_gives_it(name, size, cid):
    version, raw_leaves, chunk_size, max_links = KUBO[name][0]
    profile = Profile(name, version, chunk_size, raw_leaves, max_links)
    assert PROFILES.get(name, profile) == profile
    data = content(size)
    root, length, blocks = build_file(data, profile)
    assert (str(root), length) == (cid, size)
    assert blocks[-1].cid == root
    assert read_file(root, blocks) == data


@given(st.binary(max_size=3000), st.lists(st.integers(0, 300), max_size=20), st.booleans())
def test_the_pieces_in_which_a_file_comes_do_not_matter(data, cuts, as_view):
    builder = FileBuilder(SMALL)
    blocks, offset = [], 0
    for cut in [*cuts, len(data)]:
        piece = data[offset : offset + cut]
        blocks += builder.feed(memoryview(piece) if as_view else piece)
        offset += len(piece)
    root, size, rest = builder.finish()
    assert (root, size, blocks + rest) == build_file(data, SMALL)


@given(st.integers(0, 6000))
def test_children_come_before_their_parents_and_the_root_last(size):
    root, _, blocks = build_file(content(size), SMALL)
    seen = set()
    for block in blocks:
        assert all(link.cid in seen for link in read_node(block.cid, block.data).links)
        seen.add(block.cid)
    assert blocks[-1].cid == root


def test_the_builder_holds_no_more_than_the_open_nodes():
    builder = FileBuilder(SMALL)
    most = 0
    for i in range(3**7 + 5):
        assert len(builder.feed(i.to_bytes(64))) <= 1 + 8  # a leaf and what it fills on each level
        most = max(most, sum(map(len, builder._levels)) + len(builder._buffer))
    assert most <= 8 * 3


def test_a_finished_file_takes_no_more():
    builder = FileBuilder()
    builder.finish()
    with pytest.raises(ValueError, match="finished"):
        builder.feed(b"x")
    with pytest.raises(ValueError, match="finished"):
        builder.finish()


def test_the_profiles_are_the_two_that_ipfs_knows():
    assert PROFILES == {"unixfs-v1-2025": UNIXFS_V1_2025, "unixfs-v0-2015": CID_V0}


# What `ipfs block get` of Kubo 0.43.0 gives for the file of 577 bytes in the profile small-raw.
KUBO_BLOCK = bytes.fromhex(
    "122b0a240170122058cb66c322a4af21cb93845321e72768a9fbacab1e4ab6f0d9ae65d0056996251200188a09"
    "122a0a2401701220c3680e215bdb1742a62dc67894e677add45354fe05afefe95e7dd90471d6c2921200186"
    "90a0a080218c10420c0042001"
)
# ... and for a directory with the one file f1.
KUBO_DIRECTORY = bytes.fromhex(
    "122c0a24015512205a6e7a4754af8e7f47fc9493040d853e7b01e39d537cb1dd353c93b7ae58eb3d1202663118010a020801"
)


def test_a_node_of_kubo_is_read():
    node = read_node(CID.parse("bafybeihq53o5drhk7wgnug5mkoamzt3tezadpuo5pc2ze3f2qo6sr7j3r4"), KUBO_BLOCK)
    assert ([link.size for link in node.links], node.data, node.size) == ([576, 1], b"", 577)
    assert dagpb.encode_node(dagpb.decode_node(KUBO_BLOCK)) == KUBO_BLOCK


def test_a_directory_is_refused_by_name():
    with pytest.raises(InvalidBlock, match="directories are not supported yet"):
        read_node(CID.of(KUBO_DIRECTORY, DAG_PB), KUBO_DIRECTORY)


LINK = dagpb.PBLink(CID.of(b"child"), "", 5)
FILE = dagpb.UnixFS(dagpb.UNIXFS_FILE, b"", 5, (5,))


def node_of(message, links=(LINK,)):
    data = dagpb.encode_node(dagpb.PBNode(links, dagpb.encode_unixfs(message)))
    return read_node(CID.of(data, DAG_PB), data)


def test_a_node_may_hold_content_and_links():
    node = node_of(replace(FILE, data=b"abc", filesize=8))
    assert (node.data, node.size, node.links[0].size) == (b"abc", 8, 5)


def test_a_node_may_leave_its_size_out():
    assert node_of(replace(FILE, filesize=None)).size == 5


@pytest.mark.parametrize(
    ("message", "links", "why"),
    [
        (replace(FILE, blocksizes=()), (LINK,), "1 links, but 0 block sizes"),
        (FILE, (LINK, LINK), "2 links, but 1 block sizes"),
        (replace(FILE, filesize=6), (LINK,), "says it has 6 bytes, its parts have 5"),
        (replace(FILE, filesize=None, blocksizes=(2**62,) * 2), (LINK, LINK), "more than 2\\*\\*63"),
        (replace(FILE, type=dagpb.UNIXFS_HAMT), (LINK,), "directory"),
        (replace(FILE, type=dagpb.UNIXFS_SYMLINK), (LINK,), "no file"),
        (replace(FILE, type=9), (LINK,), "no file"),
        (FILE, (LINK,) * (dagpb.MAX_LINKS + 1), "more than 8192 links"),
    ],
)
def test_a_node_that_contradicts_itself_is_refused(message, links, why):
    with pytest.raises(InvalidBlock, match=why):
        node_of(message, links)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (KUBO_BLOCK[:-1], "cut off"),
        (KUBO_BLOCK[:20], "cut off"),
        (KUBO_BLOCK + KUBO_BLOCK, "after its data"),
        (b"", "does not say its type"),
        (b"\x0a\x02\x18\x05", "does not say its type"),
        (b"\x0a\x04\x08\x02\x08\x02", "unknown or repeated"),
        (b"\x0a\x04\x08\x02\x50\x02", "unknown or repeated"),
        (b"\x1a\x00", "unknown field"),
        (b"\x0d\x00\x00\x00\x00", "wire type 5"),
        (b"\x12\x02\x12\x00", "no CID"),
        (b"\x12\x04\x0a\x02\x12\x20", "malformed"),
        (b"\x12\x04\x12\x00\x12\x00", "repeated or out of order"),
        (b"\x12\x04\x18\x00\x12\x00", "repeated or out of order"),
        (b"\x0a\x82\x00\x08\x02", "shortest form"),
    ],
)
def test_a_malformed_node_is_refused(data, why):
    with pytest.raises(InvalidBlock, match=why):
        read_node(CID.of(data, DAG_PB), data)


def test_packed_block_sizes_are_read():
    assert dagpb.decode_unixfs(b"\x08\x02\x18\x86\x02\x22\x03\x05\x81\x02").blocksizes == (5, 257)


def test_there_are_no_more_packed_block_sizes_than_links():
    packed = b"\x22" + put_varint(dagpb.MAX_LINKS + 1) + b"\0" * (dagpb.MAX_LINKS + 1)
    with pytest.raises(InvalidBlock, match="more than 8192 block sizes"):
        dagpb.decode_unixfs(b"\x08\x02" + packed)


def test_a_block_of_another_codec_is_no_file():
    with pytest.raises(InvalidBlock, match="raw or dag-pb"):
        read_node(CID.of(b"\xa0", DAG_CBOR), b"\xa0")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_node_or_refused(data):
    try:
        node = read_node(CID.of(data, DAG_PB), data)
    except InvalidBlock:
        return
    assert node.size == len(node.data) + sum(link.size for link in node.links)


@given(st.integers(0, len(KUBO_BLOCK) - 1), st.integers(1, 255))
def test_a_changed_byte_never_raises_anything_else(position, change):
    data = bytearray(KUBO_BLOCK)
    data[position] ^= change
    try:
        read_node(CID.of(bytes(data), DAG_PB), bytes(data))
    except InvalidBlock:
        return
