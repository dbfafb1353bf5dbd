"""Replication: every watched entry ends exactly once, and the error bar holds the truth."""

from hypothesis import given
from hypothesis import strategies as st

from loadtests.replication import Pending, Probe
from loadtests.targets import Node

SOURCE = Node("eu-0", "http://127.0.0.1:1", "eu")
gaps = st.lists(st.floats(0.001, 1.0, allow_nan=False), min_size=1, max_size=20)


def probe(cid="bafyone", answered=0.0):
    return Probe(cid, SOURCE, started=0.0, answered=answered, size=10)


@given(gaps, st.floats(0.0, 20.0, allow_nan=False))
def test_the_true_moment_lies_within_the_error_bar(waits, truth):
    """Polls at known times look for an entry that becomes visible at ``truth``."""
    pending, now = Pending(timeout=1e9), 0.0
    pending.add(probe())
    arrivals = []
    for wait in waits:
        began, ended = now, now + wait / 2
        arrivals += pending.polled(b"/ipfs/bafyone" if truth <= began else b"", began=began, ended=ended)
        now += wait
    if truth <= began:
        (arrival,) = arrivals
        assert arrival.seconds - arrival.error_bar <= truth + 1e-9
        assert truth <= arrival.seconds
        assert 0 <= arrival.error_bar <= arrival.seconds
        assert not len(pending)
    else:
        assert not arrivals
        assert len(pending) == 1


def test_the_first_poll_leaves_all_of_its_time_uncertain():
    pending = Pending(timeout=10.0)
    pending.add(probe(answered=5.0))
    (arrival,) = pending.polled(b"bafyone", began=5.1, ended=5.3)
    assert arrival.seconds == arrival.error_bar
    assert abs(arrival.seconds - 0.3) < 1e-9


def test_one_poll_serves_all_that_are_awaited():
    pending = Pending(timeout=10.0)
    for cid in ("bafyone", "bafytwo", "bafythree"):
        pending.add(probe(cid))
    arrivals = pending.polled(b'[{"path": "/ipfs/bafytwo"}, {"path": "/ipfs/bafyone"}]', began=1.0, ended=2.0)
    assert {arrival.probe.cid for arrival in arrivals} == {"bafyone", "bafytwo"}
    assert len(pending) == 1


def test_what_does_not_arrive_expires_once():
    pending = Pending(timeout=10.0)
    pending.add(probe(answered=1.0))
    assert pending.expired(10.9) == []
    assert [one.cid for one in pending.expired(11.0)] == ["bafyone"]
    assert pending.expired(12.0) == []
    assert pending.polled(b"bafyone", began=12.0, ended=13.0) == []


def test_a_poll_that_began_before_the_post_was_answered_proves_nothing():
    pending = Pending(timeout=10.0)
    pending.add(probe(answered=5.0))
    assert pending.polled(b"", began=4.0, ended=5.5) == []
    (arrival,) = pending.polled(b"bafyone", began=6.0, ended=6.5)
    assert arrival.error_bar == arrival.seconds == 1.5
