"""A vote is its voter's own, on one file, and nothing else passes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peersdb.core import codec
from peersdb.core.cid import CID
from peersdb.core.identity import Signer
from peersdb.core.votes import create_vote, decode_vote
from peersdb.errors import InvalidRecord

VOTER = Signer.from_seed(b"\x01" * 32)
VOTE = create_vote(
    VOTER,
    CID.of(b"content"),
    validator="integrity/1",
    validator_hash=b"\x02" * 32,
    verdict="valid",
    seq=7,
    ts=9,
)
GOLDEN = (
    "a96274730963636964d82a58250001551220ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297"
    "b9ec9f73637365710763736967584037d3f1fe98d4e93399cfe1a9f22e6bbbc4fbf538030b7f4c369e6c6e48f211"
    "1b261f5dfb5045ce359953d2c001351afa04ca9328232ee70df75dcc4d4cab400f65766f7465727834313244334b"
    "6f6f574b3939566f56784e4537587a79427758457a573778684b37477076383572394633563366794b53554b5048"
    "35666f726967696e6473656c6667766572646963746576616c69646976616c696461746f726b696e746567726974"
    "792f316e76616c696461746f725f6861736858200202020202020202020202020202020202020202020202020202"
    "020202020202"
)


def test_the_bytes_of_a_vote_do_not_change():
    assert VOTE.data.hex() == GOLDEN
    assert decode_vote(bytes.fromhex(GOLDEN)) == VOTE
    assert (VOTE.voter, VOTE.origin, VOTE.verdict) == (VOTER.peer_id, "self", "valid")


@given(st.integers(0, len(VOTE.data) * 8 - 1))
def test_any_flipped_bit_is_refused(bit):
    data = bytearray(VOTE.data)
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(InvalidRecord):
        decode_vote(bytes(data))


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_refused_by_name(data):
    with pytest.raises(InvalidRecord):
        decode_vote(data)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cid", bytes(CID.of(b"another file"))),
        ("voter", Signer.from_seed(b"\x03" * 32).peer_id),
        ("voter", "nobody"),
        ("verdict", "invalid"),
        ("verdict", "perhaps"),
        ("origin", "quorum"),
        ("origin", "hearsay"),
        ("seq", 8),
        ("seq", -1),
        ("ts", True),
        ("validator", ""),
        ("validator", "x" * 129),
        ("validator_hash", b"short"),
        ("cid", b"no cid"),
        ("sig", b"\x00" * 64),
        ("sig", b"\x00"),
        ("more", 1),
    ],
)
def test_a_changed_field_is_refused(field, value):
    with pytest.raises(InvalidRecord):
        decode_vote(codec.encode({**codec.decode(VOTE.data, 1024), field: value}))


def test_a_vote_out_of_limits_cannot_be_made():
    with pytest.raises(InvalidRecord):
        create_vote(
            VOTER, CID.of(b""), validator="", validator_hash=b"\x02" * 32, verdict="valid", seq=0, ts=0
        )
