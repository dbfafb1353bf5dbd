"""Following a node and comparing its clock: the error that is told holds the truth."""

from hypothesis import given
from hypothesis import strategies as st

from loadtests.clocks import DRIFT, Comparison, best, compare
from loadtests.feed import Follower
from loadtests.quiet import Changes, Entry

way = st.floats(0.0, 0.5)
offsets = st.floats(-1000, 1000)


@given(offsets, way, way, st.floats(0, 1))
def test_a_clock_is_within_the_error_of_its_comparison(offset, there, back, thinks):
    """The node reads its clock some time after the question came; nobody knows how long either way took."""
    sent = 5000.0
    now = sent + there + thinks * 0.1 + offset
    found = compare(sent=sent, now=now, received=sent + there + 0.1 + back)
    assert abs(found.offset - offset) <= found.error + 1e-6


def test_the_comparison_of_the_least_round_trip_counts_until_it_is_old():
    near, far = Comparison(0.5, 0.001, 100.0), Comparison(0.4, 0.050, 1000.0)
    assert best([far, near], 1000.0).offset == 0.4
    assert best([far, near], 200.0).offset == 0.5
    assert best([near], 110.0).error == near.error + 10 * DRIFT
    assert best([], 0.0) is None


@given(offsets, way, way, st.floats(0.0, 3.0), st.floats(0.0, 2.0))
def test_an_entry_came_no_earlier_than_the_gap_says(offset, there, back, pause, came):
    """The node answers at once what came since its last answer, or as soon as something comes."""
    follower = Follower("us-0", since=0.0)
    clock = 5000.0
    answers = []
    for _ in range(3):
        answers.append((clock, Changes(7, clock + there + offset, ()), clock + there + back))
        clock += there + back
    follower.first(answers)
    last = clock - back  # when the node made its last answer
    sent = clock + pause
    arrived = last + came
    answered = max(sent + there, arrived)
    entry = Entry("/ipfs/one", arrived + offset, 8)
    (found,) = follower.take(sent, Changes(8, answered + offset, (entry,)))
    assert found.at - offset >= arrived - 1e-6
    assert found.at - offset - arrived <= found.gap + 1e-6
    assert follower.after == 8


def test_while_the_node_waited_there_was_no_gap():
    follower = Follower("us-0", since=0.0)
    follower.first([(10.0, Changes(7, 10.001, ()), 10.002)])
    entry = Entry("/ipfs/one", 20.0, 8)
    (found,) = follower.take(10.002, Changes(8, 25.0, (entry,)))
    assert found.gap < 0.01


def test_a_node_that_came_late_is_asked_for_all_and_what_is_older_is_left_out():
    follower = Follower("us-0", since=50.0)
    follower.missed_start = True
    follower.first([(100.0, Changes(7, 100.0, ()), 100.0)])
    assert follower.after == 0
    entries = (Entry("/ipfs/old", 49.0, 1), Entry("/ipfs/new", 51.0, 2))
    assert [seen.path for seen in follower.take(100.0, Changes(2, 100.1, entries))] == ["/ipfs/new"]


def test_after_an_absence_all_of_it_is_the_gap():
    follower = Follower("us-0", since=0.0)
    follower.first([(10.0, Changes(7, 10.0, ()), 10.0)])
    follower.first([(60.0, Changes(9, 60.0, ()), 60.0)])
    assert follower.after == 7
    (found,) = follower.take(60.0, Changes(8, 60.0, (Entry("/ipfs/one", 15.0, 8),)))
    assert found.gap == 50.0
