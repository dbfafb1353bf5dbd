"""What is done to the cluster: told once, and what a deleted member could not answer is no failure of the database."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.errors import OptionsError
from loadtests.faults import MARGIN_SECONDS, Event, Events

MEMBER = {"name": "us-0", "http": "http://us:1", "region": "us", "role": "peer"}


def told(*values, received=None):
    events = Events()
    for value in values:
        events.add(Event.parse(value, received if received is not None else value["at"]))
    return events


def deleted(at):
    return {"kind": "deleted", "at": at, "members": [MEMBER]}


def back(at):
    return {"kind": "back", "at": at, "members": [MEMBER]}


@given(st.permutations([deleted(100.0), back(110.0), deleted(200.0), back(210.0)]))
def test_the_same_event_twice_counts_once_in_whatever_order_they_come(order):
    events = told(*order, *order)
    assert len(events.told) == 4
    assert events.away() == set()
    assert not events.excuses("us-0", 150.0, 151.0)


def test_requests_are_excused_while_a_member_is_away_and_a_moment_around():
    events = told(deleted(100.0), back(110.0))
    assert events.excuses("us-0", 105.0, 105.1)
    assert events.excuses("us-0", 90.0, 100.0), "it was under way"
    assert events.excuses("us-0", 110.0 + MARGIN_SECONDS, 120.0)
    assert not events.excuses("us-0", 110.1 + MARGIN_SECONDS, 120.0)
    assert not events.excuses("us-0", 90.0, 99.9 - MARGIN_SECONDS)
    assert not events.excuses("eu-0", 105.0, 105.1)
    assert told(deleted(100.0)).excuses("us-0", 1000.0, 1001.0), "it never came back"


def test_a_member_is_away_until_it_is_back():
    assert told(deleted(100.0)).away() == {"us-0"}
    assert told(deleted(100.0), back(110.0), deleted(120.0)).away() == {"us-0"}


def test_a_wave_is_known_by_its_number():
    events = told({"kind": "wave", "at": 5.0, "wave": 2, "region": "us", "members": [MEMBER]})
    assert not events.add(Event.parse({"kind": "wave", "at": 7.0, "wave": 2}, 7.0))
    assert events.wave(1) is None
    assert events.wave(2).public() == {
        "kind": "wave",
        "at": 5.0,
        "wave": 2,
        "region": "us",
        "members": [MEMBER],
    }


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"kind": "storm", "at": 1.0},
        {"kind": "cut"},
        {"kind": "cut", "at": "now"},
        {"kind": "cut", "at": True},
        {"kind": "cut", "at": float("nan")},
        {"kind": "wave", "at": 1.0},
        {"kind": "wave", "at": 1.0, "wave": 0},
        {"kind": "wave", "at": 1.0, "wave": 1.5},
        {"kind": "cut", "at": 1.0, "region": 3},
        {"kind": "deleted", "at": 1.0, "members": {}},
        {"kind": "deleted", "at": 1.0, "members": [{}]},
        {"kind": "deleted", "at": 1.0, "members": [{**MEMBER, "http": "ftp://a"}]},
        {"kind": "deleted", "at": 1.0, "members": [{**MEMBER, "region": 3}]},
        {"kind": "deleted", "at": 1.0, "members": [MEMBER] * 501},
    ],
)
def test_what_is_no_event_is_refused(value):
    with pytest.raises(OptionsError):
        Event.parse(value, 0.0)


def test_events_are_bounded(monkeypatch):
    monkeypatch.setattr("loadtests.faults.MAX_EVENTS", 2)
    events = told(deleted(1.0), deleted(2.0))
    with pytest.raises(OptionsError, match="more than 2"):
        events.add(Event.parse(deleted(3.0), 3.0))
