"""Due times: fixed in advance, whatever the answers take."""

from hypothesis import given
from hypothesis import strategies as st

from loadtests.schedule import Schedule

durations = st.lists(st.floats(0, 10, allow_nan=False), min_size=1, max_size=30)


@given(durations)
def test_a_slow_answer_delays_later_requests_and_the_delay_is_counted(took):
    schedule, now = Schedule(period=1.0, first=5.0), 0.0
    for turn, seconds in enumerate(took):
        now += schedule.pause(now)
        late = schedule.start(now)
        assert abs((now - late) - (5.0 + turn)) < 1e-6
        now += seconds


def test_requests_in_time_are_not_late():
    schedule = Schedule(period=0.5, first=1.0)
    assert schedule.pause(0.25) == 0.75
    assert schedule.start(1.0) == 0.0
    assert schedule.pause(1.25) == 0.25
    assert schedule.start(1.5) == 0.0


def test_after_a_stall_the_requests_it_held_up_follow_at_once_each_with_its_delay():
    schedule = Schedule(period=1.0, first=0.0)
    schedule.start(0.0)
    late = []
    for _ in range(4):
        assert schedule.pause(3.0) == 0.0 or len(late) == 3
        late.append(schedule.start(3.0))
    assert late == [2.0, 1.0, 0.0, 0.0]
