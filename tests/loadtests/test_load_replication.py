"""Replication: every entry ends once on every target, however its post and its arrivals are told."""

from hypothesis import given
from hypothesis import strategies as st

from loadtests import replication
from loadtests.clocks import Comparison
from loadtests.feed import Seen
from loadtests.replication import EARLY_SECONDS, Ledger, Outcome, Post, measure

TARGETS = ("us-0", "asia-0", "asia-1")
EXACT = Comparison(0.0, 0.0, 0.0)


def post(path="/ipfs/one", ts=100.0):
    return Post(path, "eu-0", ts, 10, 0)


def seen(target="us-0", path="/ipfs/one", at=100.2, created=100.0, gap=0.0):
    return Seen(path, target, at, gap, created)


@given(st.permutations(["post", *TARGETS]), st.sets(st.sampled_from(TARGETS)), st.booleans())
def test_every_target_ends_once_whatever_is_told_first(order, never, twice):
    """The post and the arrivals are told by different processes, in any order, some twice, some never."""
    ledger, outcomes = Ledger(timeout=10.0), []
    for turn, what in enumerate(order):
        if what == "post":
            outcomes += ledger.posted(post(), TARGETS, now=turn)
        elif what not in never:
            for _ in range(1 + twice):
                outcomes += ledger.seen(seen(what), now=turn)
    outcomes += ledger.expired(now=1000.0)
    assert sorted(one.target for one in outcomes) == sorted(TARGETS)
    assert {one.target for one in outcomes if one.seen is None} == never
    assert ledger.pairs == 0
    assert not ledger.expired(now=2000.0)


def test_what_was_not_seen_fails_after_the_timeout_and_not_before():
    ledger = Ledger(timeout=10.0, slack=2.0)
    ledger.posted(post(), ["us-0"], now=1.0)
    assert ledger.expired(now=12.9) == []
    assert ledger.expired(now=13.0) == [Outcome(post(), "us-0", None)]


def test_what_nobody_posted_is_forgotten_in_time():
    ledger = Ledger(timeout=10.0)
    ledger.seen(seen(), now=0.0)
    ledger.expired(now=EARLY_SECONDS)
    assert ledger.posted(post(), ["us-0"], now=EARLY_SECONDS) == []
    assert ledger.pairs == 1


def test_beyond_the_limits_posts_go_unwatched_and_sightings_are_counted(monkeypatch):
    monkeypatch.setattr(replication, "MAX_AWAITED", 3)
    monkeypatch.setattr(replication, "MAX_EARLY", 1)
    ledger = Ledger(timeout=10.0)
    for number in range(3):
        ledger.posted(post(f"/ipfs/{number}"), TARGETS, now=0.0)
        ledger.seen(seen(path=f"/ipfs/other{number}"), now=0.0)
    assert (ledger.pairs, ledger.unwatched, ledger.forgotten) == (3, 2, 2)
    assert len(ledger.expired(now=100.0)) == 3


def test_a_run_that_is_cut_short_gives_up_all_that_is_awaited():
    ledger = Ledger(timeout=10.0)
    ledger.posted(post(), TARGETS, now=0.0)
    ledger.seen(seen(), now=0.0)
    assert [(one.target, one.seen) for one in ledger.cut_short()] == [("asia-0", None), ("asia-1", None)]
    assert ledger.pairs == 0


@given(
    st.floats(0, 5),
    st.floats(-100, 100),
    st.floats(-100, 100),
    st.floats(-0.05, 0.05),
    st.floats(-0.05, 0.05),
)
def test_the_truth_lies_within_the_error_bar_however_the_clocks_differ(took, source, target, slip, slide):
    """``source`` and ``target`` are the true offsets; what was compared is wrong by ``slip`` and ``slide``."""
    found = measure(
        Outcome(post(ts=1000.0), "us-0", seen(created=1000.0 + source, at=1000.0 + took + target)),
        Comparison(source + slip, abs(slip), 0.0),
        Comparison(target + slide, abs(slide), 0.0),
        timeout=10.0,
    )
    assert not found.error
    assert abs(found.seconds - took) <= found.error_bar + 1e-6
    assert found.seconds >= 0


def test_what_came_too_late_is_a_failure_with_its_time():
    found = measure(Outcome(post(), "us-0", seen(at=111.0)), EXACT, EXACT, timeout=10.0)
    assert (found.seconds, found.error) == (11.0, "visible on us-0 only after 11.0 s")
    never = measure(Outcome(post(), "us-0", None), EXACT, EXACT, timeout=10.0)
    assert (never.seconds, never.error) == (10.0, "not visible on us-0 within 10 s")


def test_without_a_clock_there_is_no_time():
    found = measure(Outcome(post(), "us-0", seen()), None, EXACT, timeout=10.0)
    assert "the clock of eu-0" in found.error
