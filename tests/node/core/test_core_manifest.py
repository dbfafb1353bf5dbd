"""Addresses: OrbitDB's manifests."""

import core_orbitdb_goldens as goldens
import pytest

from peersdb.core import codec
from peersdb.core.cid import CID, hash_of
from peersdb.core.manifest import contributions_manifest, decode_manifest, parse_address
from peersdb.errors import InvalidBlock, InvalidCID


def test_the_manifest_and_its_address_are_the_ones_that_orbitdb_makes():
    manifest = contributions_manifest("demo")
    assert manifest.address == goldens.ADDRESS
    assert [block.data for block in manifest.blocks] == [goldens.MANIFEST, goldens.ACCESS]
    assert decode_manifest(goldens.MANIFEST, goldens.ACCESS) == manifest
    for block in manifest.blocks:
        block.cid.verify(block.data)


def test_every_cluster_has_its_own_address():
    assert contributions_manifest("a").address != contributions_manifest("b").address


@pytest.mark.parametrize("cluster_id", ["", "a/b", "x" * 64, "-a", "a b", "é", "a\n"])
def test_a_wrong_cluster_id_is_refused(cluster_id):
    with pytest.raises(InvalidBlock, match="is no cluster id"):
        contributions_manifest(cluster_id)


VALUE = codec.decode(goldens.MANIFEST, 1024)
CLOSED = codec.encode({"type": "ipfs", "write": ["abc"]})


@pytest.mark.parametrize(
    ("value", "access", "why"),
    [
        ([], goldens.ACCESS, "fields"),
        ({**VALUE, "meta": 1}, goldens.ACCESS, "fields"),
        ({**VALUE, "name": 1}, goldens.ACCESS, "name"),
        ({**VALUE, "name": "contributions-"}, goldens.ACCESS, "name"),
        ({**VALUE, "name": "votes"}, goldens.ACCESS, "not of contributions|name"),
        ({**VALUE, "type": "keyvalue"}, goldens.ACCESS, "type is 'keyvalue'"),
        (VALUE, CLOSED, "not the one the manifest names"),
        ({**VALUE, "accessController": f"/ipfs/{hash_of(CLOSED)}"}, CLOSED, "no other is supported"),
        ("x" * 1024, goldens.ACCESS, "too many"),
        (VALUE, b"", "not the one"),
    ],
)
def test_a_wrong_manifest_is_refused(value, access, why):
    with pytest.raises(InvalidBlock, match=why):
        decode_manifest(codec.encode(value), access)


def test_an_address_is_passed_on():
    assert parse_address(goldens.ADDRESS) == goldens.ADDRESS


@pytest.mark.parametrize(
    "text",
    [
        "",
        goldens.ADDRESS + "/",
        goldens.ADDRESS.removeprefix("/orbitdb/"),
        goldens.ADDRESS[:-1],
        f"/orbitdb/{CID.of(b'')}",
    ],
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(InvalidCID, match="is no store address"):
        parse_address(text)
