"""dag-cbor: what is read is canonical, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peersdb.core import codec
from peersdb.core.cid import CID
from peersdb.errors import InvalidBlock

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.binary(max_size=40).map(lambda rest: b"\x01\x55\x12" + rest)  # what might be taken for a CID
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
)


@given(values)
def test_decoding_leads_back(value):
    data = codec.encode(value)
    assert codec.decode(data, len(data)) == value
    assert codec.encode(codec.decode(data, len(data))) == data


@given(st.binary(max_size=60))
def test_any_bytes_are_canonical_or_refused(data):
    try:
        value = codec.decode(data, 60)
    except InvalidBlock:
        return
    assert codec.encode(value) == data


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("", "end of data"),
        ("1801", "canonical"),  # 1 in two bytes
        ("fa3f800000", "canonical"),  # 1.0 as a single
        ("fb7ff8000000000000", "NaN"),
        ("fb7ff0000000000000", "not dag-cbor"),  # infinity
        ("a2616201616102", "sorted"),
        ("a2616101616102", "unique"),
        ("9f01ff", "Indefinite"),
        ("0000", "multiple objects"),
        ("c001", "tags"),
        ("f7", "not dag-cbor"),
        ("a10102", "keys must be strings"),
        ("61ff", "utf-8"),
        ("5824" + bytes(CID.of(b"")).hex(), "canonical"),  # a CID that is not written as a link
        ("81" * 33 + "01", "nested"),
        ("81" * 100_000 + "01", "not dag-cbor"),
    ],
)
def test_what_is_not_canonical_is_refused(data, why):
    with pytest.raises(InvalidBlock, match=why):
        codec.decode(bytes.fromhex(data), 200_000)


def test_the_deepest_value_is_read():
    assert codec.decode(bytes.fromhex("81" * 32 + "01"), 100)
    assert codec.decode(bytes.fromhex("a16161" * 32 + "01"), 1000)


def test_more_bytes_than_the_limit_are_refused():
    assert codec.decode(codec.encode("abcd"), 5) == "abcd"
    with pytest.raises(InvalidBlock, match="6 bytes of dag-cbor are too many, at most 5"):
        codec.decode(codec.encode("abcde"), 5)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**64, {1: 2}, object(), {"x": {1}}, "\ud800"])
def test_what_dag_cbor_cannot_say_is_refused(value):
    with pytest.raises(InvalidBlock, match="cannot be written"):
        codec.encode(value)
