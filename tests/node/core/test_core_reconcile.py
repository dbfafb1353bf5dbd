"""Fingerprints and version vectors."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peersdb.core.cid import CID, DAG_CBOR, hash_of
from peersdb.core.reconcile import EMPTY, Fingerprint, advance, gaps
from peersdb.errors import InvalidCID, InvalidData

hashes = st.binary(max_size=3).map(hash_of)
vectors = st.dictionaries(st.tuples(st.sampled_from("abc"), st.integers(0, 2)), st.integers(0, 5))


def fingerprint(items):
    result = EMPTY
    for item in items:
        result = result.add(item)
    return result


@given(st.lists(hashes, unique=True), st.randoms(use_true_random=False))
def test_the_fingerprint_does_not_depend_on_the_order(items, rng):
    shuffled = list(items)
    rng.shuffle(shuffled)
    assert fingerprint(items) == fingerprint(shuffled)


@given(st.lists(hashes, unique=True), st.integers(0, 10))
def test_the_fingerprint_of_a_union_is_the_merge(items, cut):
    assert fingerprint(items[:cut]).merge(fingerprint(items[cut:])) == fingerprint(items)


@given(st.sets(hashes), st.sets(hashes))
def test_two_sets_of_one_fingerprint_are_equal(left, right):
    assert (fingerprint(left) == fingerprint(right)) == (left == right)


@given(st.lists(hashes, unique=True))
def test_fingerprints_lead_back(items):
    print_ = fingerprint(items)
    assert Fingerprint.from_bytes(print_.count, print_.to_bytes()) == print_
    assert bytes.fromhex(print_.hex) == print_.to_bytes()


def test_the_sum_wraps_at_256_bits():
    near = Fingerprint(1, 2**256 - 1)
    assert near.merge(Fingerprint(1, 2)) == Fingerprint(2, 1)
    assert len(near.add(hash_of(b"")).to_bytes()) == 32


def test_the_fingerprint_is_the_sum_of_the_hashes_of_the_cids():
    cids = [bytes(CID.of(data, DAG_CBOR)) for data in (b"a", b"b")]
    total = sum(int.from_bytes(hashlib.sha256(cid).digest()) for cid in cids) % 2**256
    assert fingerprint([hash_of(b"a"), hash_of(b"b")]) == Fingerprint(2, total)
    assert EMPTY.hex == "00" * 32


@pytest.mark.parametrize(("count", "data"), [(0, b""), (0, b"x" * 33), (-1, b"x" * 32)])
def test_a_wrong_fingerprint_is_refused(count, data):
    with pytest.raises(InvalidData):
        Fingerprint.from_bytes(count, data)


def test_only_hashes_of_entries_are_added():
    with pytest.raises(InvalidCID):
        EMPTY.add(str(CID.of(b"")))


@given(vectors, vectors)
def test_the_gaps_are_exactly_what_they_lack(theirs, mine):
    lacking = {(*writer, seq) for writer, top in mine.items() for seq in range(1, top + 1)} - {
        (*writer, seq) for writer, top in theirs.items() for seq in range(1, top + 1)
    }
    found = gaps(theirs, mine)
    assert {
        (key, epoch, seq) for key, epoch, first, last in found for seq in range(first, last + 1)
    } == lacking
    assert found == sorted(found)


@given(st.sets(st.integers(1, 30)), st.integers(0, 10))
def test_advance_stops_before_the_first_gap(present, start):
    reached = advance(start, present)
    assert set(range(start + 1, reached + 1)) <= present
    assert reached + 1 not in present
