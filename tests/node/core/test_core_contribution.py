"""Contributions and their times."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peersdb.core.cid import CID, hash_of, ipfs_path
from peersdb.core.contribution import Contribution, format_timestamp, parse_timestamp
from peersdb.errors import InvalidData, InvalidEntry

PATH = ipfs_path(CID.of(b"x"))
FIRST = Contribution(PATH, "12D3KooWx", "2026-01-02T03:04:05Z", "a.csv", 1, 1, None)
VALUE = FIRST.to_value()
names = st.text(min_size=1, max_size=255).filter(
    lambda name: name.isprintable() and "/" not in name and "\\" not in name and name not in (".", "..")
)
contributions = st.builds(
    Contribution,
    st.binary(max_size=4).map(lambda data: ipfs_path(CID.of(data))),
    st.text(max_size=64),
    st.integers(0, 2**63 - 1).map(format_timestamp),
    st.none() | names,
    st.none() | st.integers(0, 2**53),
    st.integers(2, 2**53),
    st.binary(max_size=4).map(hash_of),
    st.integers(0, 2**53),
)


@given(contributions)
def test_the_value_leads_back(contribution):
    assert Contribution.from_value(contribution.to_value()) == contribution


def test_the_value_has_the_original_s_keys():
    assert VALUE == {
        "path": PATH,
        "contributor": "12D3KooWx",
        "creationTS": "2026-01-02T03:04:05Z",
        "name": "a.csv",
        "size": 1,
        "seq": 1,
        "prev": None,
    }


def test_what_is_unknown_stays_out():
    value = Contribution(PATH, "p", "2026-01-02T03:04:05Z", None, None, 1, None).to_value()
    assert value.keys() == {"path", "contributor", "creationTS", "seq", "prev"}


def test_keys_of_later_versions_are_left_alone():
    assert Contribution.from_value({**VALUE, "tags": ["a"]}) == FIRST


def test_a_later_epoch_may_begin_with_or_without_a_predecessor():
    for prev in (None, hash_of(b"")):
        assert Contribution.from_value({**VALUE, "epoch": 2, "prev": prev}).prev == prev


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"path": None}, "payload"),
        ({"path": "hello"}, "payload"),
        ({"path": PATH.removeprefix("/ipfs/")}, "payload"),
        ({"path": PATH + "/"}, "payload"),
        ({"path": "/ipfs/f01551220" + "00" * 32}, "payload"),
        ({"contributor": 1}, "payload"),
        ({"contributor": "x" * 65}, "payload"),
        ({"creationTS": None}, "timestamp"),
        ({"creationTS": "yesterday"}, "timestamp"),
        ({"name": None}, "payload"),
        ({"name": ""}, "payload"),
        ({"name": "x" * 256}, "payload"),
        ({"name": "a/b"}, "payload"),
        ({"name": "a\\b"}, "payload"),
        ({"name": ".."}, "payload"),
        ({"name": "a\nb"}, "payload"),
        ({"name": "a\u202eb"}, "payload"),
        ({"size": -1}, "payload"),
        ({"size": 1.0}, "payload"),
        ({"size": True}, "payload"),
        ({"size": 2**53 + 1}, "payload"),
        ({"seq": 0}, "payload"),
        ({"seq": None}, "payload"),
        ({"seq": 2}, "payload"),  # without prev
        ({"prev": hash_of(b"")}, "payload"),  # before the first
        ({"seq": 2, "prev": "zdpu"}, "payload"),
        ({"seq": 2, "prev": 5}, "payload"),
        ({"epoch": 0}, "payload"),
        ({"epoch": "1"}, "payload"),
    ],
)
def test_a_wrong_field_is_refused(change, reason):
    with pytest.raises(InvalidEntry) as caught:
        Contribution.from_value({**VALUE, **change})
    assert caught.value.reason == reason


@pytest.mark.parametrize("key", ["path", "contributor", "creationTS", "seq"])
def test_a_missing_field_is_refused(key):
    with pytest.raises(InvalidEntry):
        Contribution.from_value({k: v for k, v in VALUE.items() if k != key})


@pytest.mark.parametrize("value", [None, [], "x"])
def test_a_value_that_is_no_map_is_refused(value):
    with pytest.raises(InvalidEntry, match="not a map"):
        Contribution.from_value(value)


@given(st.integers(0, 2**63 - 1))
def test_times_lead_back(ns):
    assert parse_timestamp(format_timestamp(ns)) == ns


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
        (1_500_000_000, "1970-01-01T00:00:01.5Z"),
        (1_700_000_000_120_000_000, "2023-11-14T22:13:20.12Z"),
        (1_700_000_010_000_000_000, "2023-11-14T22:13:30Z"),
    ],
)
def test_times_are_written_as_go_writes_them(ns, text):
    assert format_timestamp(ns) == text


@given(st.datetimes(datetime(1970, 1, 2), datetime(2262, 1, 1)), st.integers(-23, 23))  # noqa: DTZ001
def test_offsets_are_read(moment, hours):
    utc = moment.replace(microsecond=0, tzinfo=UTC)
    sign = "-" if hours < 0 else "+"
    text = f"{utc:%Y-%m-%dT%H:%M:%S}.25{sign}{abs(hours):02}:00"
    assert parse_timestamp(text) == (int(utc.timestamp()) - hours * 3600) * 10**9 + 250_000_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-01-02 03:04:05Z",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05.1234567890Z",
        "2026-02-30T00:00:00Z",
        "2026-01-02T25:00:00Z",
        "2026-01-02T03:04:05+99:00",
        "1969-12-31T23:59:59Z",
        "9999-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:00",
        "٢٠٢٦-01-02T03:04:05Z",
        "2026-01-02T03:04:05Z\n",
    ],
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(InvalidData, match="is no time"):
        parse_timestamp(text)


@pytest.mark.parametrize("ns", [-1, 2**63])
def test_a_time_outside_of_the_range_is_not_written(ns):
    with pytest.raises(InvalidData, match="between 1970 and 2262"):
        format_timestamp(ns)
