"""Members' address records."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peersdb.core import codec
from peersdb.core.identity import Signer
from peersdb.core.records import MAX_ADDRS, MAX_RECORD, create_record, decode_record
from peersdb.errors import InvalidRecord

SIGNER = Signer.from_seed(b"\x01" * 32)
OTHER = Signer.from_seed(b"\x02" * 32)
ADDRS = ("/ip4/10.0.0.1/tcp/4001", "/dns4/root.example/tcp/4001")
RECORD = create_record(SIGNER, ADDRS, 1_700_000_000_000_000_000, True, "europe-west3")
GOLDEN = (
    "a6637365711b17979cfe362a0000637369675840e745c784785102fbc67e95e0ab3308aa6f50a2d883937e6686"
    "d2a62dd1123f2ac5f906c6be53b5d40ba73ba115817b8cded5b1bfc8198015244d7ef5ba17000f647065657278"
    "34313244334b6f6f574b3939566f56784e4537587a79427758457a573778684b37477076383572394633563366"
    "794b53554b50483564726f6f74f565616464727382762f6970342f31302e302e302e312f7463702f3430303178"
    "1b2f646e73342f726f6f742e6578616d706c652f7463702f3430303166726567696f6e6c6575726f70652d7765"
    "737433"
)
FIELDS = codec.decode(RECORD.data, MAX_RECORD)


def test_a_record_leads_back():
    assert decode_record(RECORD.data) == RECORD
    assert (RECORD.peer_id, RECORD.addrs, RECORD.root, RECORD.region) == (
        SIGNER.peer_id,
        ADDRS,
        True,
        "europe-west3",
    )


def test_the_bytes_of_a_record_do_not_change():
    assert RECORD.data.hex() == GOLDEN


def test_the_signature_is_over_the_domain_and_the_other_fields():
    unsigned = {key: value for key, value in FIELDS.items() if key != "sig"}
    assert SIGNER.sign(b"peersdb-member-v1:" + codec.encode(unsigned)) == RECORD.sig
    bare = codec.encode({**unsigned, "sig": SIGNER.sign(codec.encode(unsigned))})
    with pytest.raises(InvalidRecord, match="not signed by 12D3KooW"):
        decode_record(bare)


@given(st.integers(0, len(RECORD.data) - 1), st.integers(1, 255))
def test_a_record_with_a_changed_byte_is_refused(position, change):
    data = bytearray(RECORD.data)
    data[position] ^= change
    with pytest.raises(InvalidRecord):
        decode_record(bytes(data))


@given(st.binary(max_size=100))
def test_any_bytes_are_refused(data):
    with pytest.raises(InvalidRecord):
        decode_record(data)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"more": 1}, "fields"),
        ({"peer": 1}, "peer"),
        ({"peer": "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"}, "Ed25519"),
        ({"peer": OTHER.peer_id}, "not signed"),
        ({"addrs": "///"}, "addrs"),
        ({"addrs": ["ip4"]}, "addrs"),
        ({"addrs": [1]}, "addrs"),
        ({"addrs": ["/ip4\n"]}, "addrs"),
        ({"addrs": ["/é"]}, "addrs"),
        ({"addrs": ["/" + "x" * 256]}, "addrs"),
        ({"addrs": ["/x"] * (MAX_ADDRS + 1)}, "addrs"),
        ({"addrs": ["/" + "x" * 255] * 16}, "unreadable"),  # over 4 KiB
        ({"seq": -1}, "seq"),
        ({"seq": 2**63}, "seq"),
        ({"seq": True}, "seq"),
        ({"root": 1}, "root"),
        ({"region": None}, "region"),
        ({"region": "x" * 64}, "region"),
        ({"region": "a\tb"}, "region"),
        ({"region": "é"}, "region"),
        ({"sig": b"x" * 63}, "64 bytes"),
        ({"sig": "x" * 64}, "sig"),
        ({"seq": 5}, "not signed"),
        ({"root": False}, "not signed"),
    ],
)
def test_a_wrong_field_is_refused(change, why):
    with pytest.raises(InvalidRecord, match=why):
        decode_record(codec.encode({**FIELDS, **change}))


def test_a_record_out_of_its_limits_is_not_made():
    with pytest.raises(InvalidRecord, match="addrs"):
        create_record(SIGNER, ("/x",) * (MAX_ADDRS + 1), 1, False, "")
    with pytest.raises(InvalidRecord, match="cannot be written"):
        create_record(SIGNER, (), 2**64, False, "")
