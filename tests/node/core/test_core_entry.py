"""Entries: OrbitDB's bytes, and a named refusal for each way to be wrong."""

from dataclasses import replace

import core_orbitdb_goldens as goldens
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peersdb.core import codec
from peersdb.core.cid import hash_of
from peersdb.core.clock import MAX_TIME, Clock
from peersdb.core.contribution import Contribution, format_timestamp, parse_timestamp
from peersdb.core.entry import (
    MAX_AHEAD_NS,
    MAX_ENTRY,
    MAX_NEXT,
    MAX_REFS,
    Entry,
    add_payload,
    check_entry,
    check_identity,
    check_signature,
    create_addition,
    create_entry,
    decode_entry,
)
from peersdb.core.identity import Signer
from peersdb.errors import InvalidBlock, InvalidEntry

SIGNER = Signer.from_seed(goldens.SEED)
OTHER = Signer.from_seed(b"\x02" * 32)
LOG = goldens.ADDRESS
CREATED = "2026-01-02T03:04:05.000000006Z"
NOW = parse_timestamp(CREATED)
PATH = "/ipfs/bafkreibnoelefnzgwbcacyt4vh52ymxvzbjq7mmqhtcnwarfq4lzegsiqe"
FIRST = Contribution(PATH, SIGNER.peer_id, CREATED, "data.csv", 1, 1, None)


def entry_of(contribution=FIRST, clock=None, parents=(), signer=SIGNER, refs=()):
    clock = clock or Clock(signer.key_hex, 1)
    return create_entry(signer, LOG, add_payload(contribution), clock, parents, refs)


def refused(check, *args):
    with pytest.raises(InvalidEntry) as caught:
        check(*args)
    return caught.value.reason


def test_an_entry_is_byte_for_byte_the_one_that_orbitdb_makes():
    first = entry_of()
    assert (first.hash, first.data) == (goldens.ENTRY_HASHES[0], goldens.FIRST)
    second = entry_of(replace(FIRST, seq=2, prev=first.hash), Clock(SIGNER.key_hex, 2), (first.hash,))
    assert (second.hash, second.data) == (goldens.ENTRY_HASHES[1], goldens.SECOND)


@given(
    st.builds(
        Contribution,
        path=st.just(PATH),
        contributor=st.just(SIGNER.peer_id),
        creation_ts=st.integers(0, 2**63 - 1).map(format_timestamp),
        name=st.none() | st.text("name 1é😀", min_size=3, max_size=255),
        size=st.none() | st.integers(0, 2**53),
        seq=st.integers(2, 2**53),
        prev=st.just(goldens.ENTRY_HASHES[0]),
        epoch=st.integers(0, 2**53),
    ),
    st.integers(1, MAX_TIME),
    st.integers(0, MAX_NEXT),
)
def test_what_is_made_is_what_its_block_says(contribution, time, parents):
    next_ = tuple(hash_of(bytes([i])) for i in range(parents))
    made = create_addition(SIGNER, LOG, contribution, Clock(SIGNER.key_hex, time), next_)
    read = decode_entry(made.data)
    fields = [f for f in Entry.__slots__ if not f.startswith("_")]
    assert [getattr(made, f) for f in fields] == [getattr(read, f) for f in fields]
    assert made.contribution == read.contribution == contribution
    check_signature(made)


def test_an_entry_of_orbitdb_passes_every_check():
    entry = decode_entry(goldens.SECOND)
    check_entry(entry, LOG, NOW)
    check_signature(entry)
    check_identity(entry, SIGNER.identity)
    assert entry.contribution.seq == 2
    assert entry.order == (2, SIGNER.key_hex, goldens.ENTRY_HASHES[1])


@given(st.integers(0, len(goldens.SECOND) - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused_with_its_reason(position, change):
    data = bytearray(goldens.SECOND)
    data[position] ^= change

    def check_all():
        entry = decode_entry(bytes(data))
        check_entry(entry, LOG, NOW)
        check_signature(entry)
        check_identity(entry, SIGNER.identity)

    assert refused(check_all) in {
        "canonical",
        "shape",
        "log_id",
        "clock",
        "payload",
        "contributor",
        "timestamp",
        "links",
        "signature",
        "identity",
    }


@given(st.binary(max_size=100))
def test_any_bytes_are_refused(data):
    assert refused(decode_entry, data) in {"canonical", "shape"}


FIELDS = codec.decode(goldens.SECOND, MAX_ENTRY)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"v": 1}, "shape"),
        ({"v": 2.0}, "shape"),
        ({"more": 1}, "shape"),
        ({"id": 5}, "shape"),
        ({"id": "x" * 129}, "shape"),
        ({"payload": "text"}, "shape"),
        ({"clock": None}, "shape"),
        ({"clock": {"id": "a"}}, "shape"),
        ({"clock": {"id": "a", "time": "1"}}, "shape"),
        ({"clock": {"id": 1, "time": 1}}, "shape"),
        ({"clock": {"id": "a", "time": True}}, "shape"),
        ({"key": FIELDS["key"].upper()}, "shape"),
        ({"key": "02" + FIELDS["key"]}, "shape"),
        ({"sig": FIELDS["sig"][:-2]}, "shape"),
        ({"identity": "zdpu"}, "shape"),
        ({"next": None}, "shape"),
        ({"next": [5]}, "shape"),
        ({"next": ["zdpuNo"]}, "shape"),
        ({"refs": {}}, "shape"),
        ({"next": [hash_of(bytes([i])) for i in range(MAX_NEXT + 1)]}, "links"),
        ({"refs": [hash_of(bytes([i])) for i in range(MAX_REFS + 1)]}, "links"),
        ({"payload": {"op": "x" * MAX_ENTRY}}, "size"),
    ],
)
def test_a_wrong_field_is_refused(change, reason):
    assert refused(decode_entry, codec.encode({**FIELDS, **change})) == reason


@pytest.mark.parametrize("field", sorted(FIELDS))
def test_a_missing_field_is_refused(field):
    assert refused(decode_entry, codec.encode({k: v for k, v in FIELDS.items() if k != field})) == "shape"


def test_an_entry_that_is_not_canonical_is_refused():
    # The version, 2, written in two bytes.
    assert goldens.FIRST[:4] == b"\xa9\x61v\x02"
    assert refused(decode_entry, b"\xa9\x61v\x18\x02" + goldens.FIRST[4:]) == "canonical"


def test_an_entry_of_another_log_is_refused():
    assert refused(check_entry, entry_of(), LOG[:-1] + "x", NOW) == "log_id"


def test_a_writer_who_may_not_write_is_refused():
    check_entry(entry_of(), LOG, NOW, {SIGNER.key_hex}.__contains__)
    assert refused(check_entry, entry_of(), LOG, NOW, {OTHER.key_hex}.__contains__) == "writer"


@pytest.mark.parametrize(
    "clock",
    [
        Clock(OTHER.key_hex, 1),
        Clock(SIGNER.key_hex, 0),
        Clock(SIGNER.key_hex, -1),
        Clock(SIGNER.key_hex, MAX_TIME + 1),
    ],
)
def test_a_wrong_clock_is_refused(clock):
    assert refused(check_entry, entry_of(clock=clock), LOG, NOW) == "clock"


def test_the_contributor_is_the_signer():
    forged = entry_of(replace(FIRST, contributor=OTHER.peer_id))
    assert refused(check_entry, forged, LOG, NOW) == "contributor"


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"op": "RETRACT", "key": None, "value": FIRST.to_value()},
        {"op": "ADD", "key": "x", "value": FIRST.to_value()},
        {"op": "ADD", "value": FIRST.to_value()},
        {"op": "ADD", "key": None, "value": FIRST.to_value(), "more": 1},
        {"op": "ADD", "key": None, "value": "text"},
    ],
)
def test_a_wrong_payload_is_refused(payload):
    entry = create_entry(SIGNER, LOG, payload, Clock(SIGNER.key_hex, 1), ())
    assert refused(check_entry, entry, LOG, NOW) == "payload"


def test_a_time_far_ahead_is_refused():
    limit = NOW + MAX_AHEAD_NS
    check_entry(entry_of(replace(FIRST, creation_ts=format_timestamp(limit))), LOG, NOW)
    late = entry_of(replace(FIRST, creation_ts=format_timestamp(limit + 1)))
    assert refused(check_entry, late, LOG, NOW) == "timestamp"


def test_an_entry_long_past_is_taken():
    check_entry(entry_of(), LOG, NOW + 10**18)


def test_links_are_distinct_limited_and_lead_to_others():
    parent = entry_of()
    many = tuple(hash_of(bytes([i])) for i in range(MAX_NEXT))
    check_entry(entry_of(parents=many), LOG, NOW)
    assert refused(entry_of, FIRST, None, (*many, parent.hash)) == "links"
    assert refused(entry_of, FIRST, None, (parent.hash, parent.hash)) == "links"
    assert refused(lambda: entry_of(refs=(parent.hash, parent.hash))) == "links"
    assert refused(check_entry, replace(parent, next=(parent.hash,)), LOG, NOW) == "links"
    assert refused(check_entry, replace(parent, refs=(parent.hash,)), LOG, NOW) == "links"


@pytest.mark.parametrize(
    "change",
    [
        {"log_id": "/orbitdb/other"},
        {"payload": add_payload(replace(FIRST, size=2))},
        {"next": (hash_of(b""),)},
        {"refs": (hash_of(b""),)},
        {"clock": Clock(SIGNER.key_hex, 2)},
        {"key": OTHER.key_hex},
        {"sig": "00" * 64},
    ],
)
def test_the_signature_covers_every_field(change):
    check_signature(entry_of())
    assert refused(check_signature, replace(entry_of(), **change)) == "signature"


def test_the_identity_is_the_one_named_and_has_the_same_key():
    check_identity(entry_of(), SIGNER.identity)
    assert refused(check_identity, entry_of(), OTHER.identity) == "identity"
    # A true identity of somebody else, named by the entry.
    claimed = replace(entry_of(), identity=OTHER.identity.hash)
    assert refused(check_identity, claimed, OTHER.identity) == "identity"


def test_an_entry_that_would_be_too_large_is_not_made():
    assert refused(create_entry, SIGNER, LOG, {"x": "x" * MAX_ENTRY}, Clock(SIGNER.key_hex, 1), ()) == "size"
    with pytest.raises(InvalidBlock):
        create_entry(SIGNER, LOG, {"x": object()}, Clock(SIGNER.key_hex, 1), ())


def test_the_largest_usual_entry_fits():
    contribution = replace(FIRST, name="\U0001f600" * 255)
    parents = tuple(hash_of(bytes([i])) for i in range(MAX_NEXT))
    assert len(entry_of(contribution, parents=parents).data) < MAX_ENTRY // 2


def test_entries_are_equal_by_their_hash():
    assert entry_of() == decode_entry(goldens.FIRST)
    assert len({entry_of(), decode_entry(goldens.FIRST), decode_entry(goldens.SECOND)}) == 2
    assert entry_of() != goldens.FIRST


@given(*[st.builds(Clock, st.sampled_from("ab"), st.integers(0, 3))] * 2)
def test_clocks_are_ordered_by_time_then_id(left, right):
    assert (left < right) == ((left.time, left.id) < (right.time, right.id))
    assert (left < right) + (left == right) + (left > right) == 1
