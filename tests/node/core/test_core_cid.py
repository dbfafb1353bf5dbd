"""CIDs: one text and one binary form each, and only hashes that can be checked."""

import hashlib

import libipld
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peersdb.core.cid import (
    CID,
    DAG_CBOR,
    DAG_PB,
    RAW,
    hash_bytes,
    hash_of,
    ipfs_path,
    is_hash,
    parse_path,
    put_varint,
    take_varint,
)
from peersdb.errors import BlockMismatch, InvalidCID

EMPTY_RAW = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"  # as Kubo writes it
EMPTY_V0 = "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"

cids = st.builds(
    lambda data, codec, version: CID.of(data, DAG_PB if version == 0 else codec, version),
    st.binary(max_size=8),
    st.sampled_from([RAW, DAG_PB, DAG_CBOR, 0x0129, 2**40]),
    st.sampled_from([0, 1]),
)


@given(cids)
def test_text_and_bytes_lead_back_to_the_cid(cid):
    assert CID.parse(str(cid)) == cid
    assert CID.from_bytes(bytes(cid)) == cid
    assert parse_path(ipfs_path(cid)) == parse_path(f"{cid}/") == cid


@given(cids, st.sampled_from("bzf"))
def test_every_base_is_read(cid, base):
    v1 = CID(1, cid.codec, cid.multihash)
    assert CID.parse(libipld.encode_multibase(base, bytes(v1))) == v1


def test_the_texts_are_those_of_ipfs_and_orbitdb():
    assert str(CID.of(b"")) == EMPTY_RAW
    assert str(CID.of(b"\x0a\x04\x08\x02\x18\x00", DAG_PB, 0)) == EMPTY_V0
    assert str(CID.of(b"\xa0", DAG_CBOR)).startswith("zdpu")
    assert hash_of(b"\xa0") == str(CID.of(b"\xa0", DAG_CBOR))
    assert hash_bytes(hash_of(b"\xa0")) == bytes(CID.of(b"\xa0", DAG_CBOR))


def test_the_digest_is_the_hash_of_the_block():
    assert CID.of(b"x").digest == hashlib.sha256(b"x").digest()


def test_a_block_is_checked_against_its_cid():
    CID.of(b"x").verify(b"x")
    CID.of(b"x").verify(memoryview(b"x"))
    with pytest.raises(BlockMismatch, match="1 bytes does not hash to bafkrei"):
        CID.of(b"x").verify(b"y")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "starts neither"),
        ("hello", "starts neither"),
        ("B" + EMPTY_RAW[1:].upper(), "starts neither"),
        (EMPTY_RAW.upper(), "starts neither"),
        (EMPTY_RAW[0] + EMPTY_RAW[1:].upper(), "not strict base32"),
        (EMPTY_RAW + "=", "base32"),
        (EMPTY_RAW[:-1], "no CID|sha2-256"),
        (EMPTY_RAW[:-1] + "v", "base32"),  # stray bits after the last byte
        (EMPTY_RAW + "aa", "sha2-256|base32"),
        ("b" * 500, "500 characters is too long"),
        ("z" + EMPTY_V0, "version 0 with a base before it"),
        (EMPTY_V0[:-1] + "0", "base58btc"),
        (EMPTY_V0[:-1], "starts neither"),
        ("f01551220", "sha2-256"),
        ("f0155111400" + "00" * 19, "only sha2-256"),  # sha1
        ("f0155b220" + "20" + "00" * 32, "only sha2-256"),  # blake2b
        ("f0255" + "1220" + "00" * 32, "version 2"),
        ("f01d500" + "1220" + "00" * 32, "shortest form"),
        ("f01" + "ff" * 9, "cut off or too long"),
        ("z6", "no CID"),
        ("f0", "base16"),
        ("b\u0130", "base32"),
    ],
)
def test_what_is_no_cid_is_refused(text, why):
    with pytest.raises(InvalidCID, match=why):
        CID.parse(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"/ipfs/{EMPTY_RAW}/a.txt", "sub-paths are not supported"),
        (f"{EMPTY_RAW}//", "sub-paths"),
        (f"/ipns/{EMPTY_RAW}", "starts neither|sub-paths"),
        (f"/ipfs//{EMPTY_RAW}", "sub-paths"),
        ("/ipfs/", "starts neither"),
        ("/" * 10_000, "too long"),
    ],
)
def test_what_is_no_path_is_refused(text, why):
    with pytest.raises(InvalidCID, match=why):
        parse_path(text)


@pytest.mark.parametrize(
    ("version", "codec", "multihash"),
    [
        (0, RAW, CID.of(b"").multihash),
        (2, RAW, CID.of(b"").multihash),
        (1, RAW, b"\x12\x20"),
        (1, RAW, b"\x16\x20" + b"x" * 32),
    ],
)
def test_no_wrong_cid_can_be_made(version, codec, multihash):
    with pytest.raises(InvalidCID):
        CID(version, codec, multihash)


@given(st.text(max_size=100) | st.from_regex(r"[bzf][a-z2-7]{0,70}", fullmatch=True))
def test_any_text_is_a_cid_or_refused(text):
    try:
        cid = CID.parse(text)
    except InvalidCID:
        return
    assert CID.parse(str(cid)) == cid


@given(st.binary(max_size=50) | st.binary(max_size=50).map(lambda rest: b"\x01\x55\x12\x20" + rest))
def test_any_bytes_are_a_cid_or_refused(data):
    try:
        assert bytes(CID.from_bytes(data)) == data
    except InvalidCID:
        return


@given(st.integers(0, 2**63 - 1))
def test_varints_lead_back(value):
    data = put_varint(value)
    assert take_varint(data, 0) == (value, len(data))


@pytest.mark.parametrize(
    "value", ["", "zdpu", EMPTY_RAW, EMPTY_V0, None, 1, "zdpu" + "0" * 45, "zdpu" + "z" * 45]
)
def test_only_dag_cbor_in_base58_is_a_hash_of_an_entry(value):
    assert not is_hash(value)
