"""The queue of keys, in virtual time."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kube_support import virtually

from peersdb_operator.kube.workqueue import BACKOFF_LAST, WorkQueue

SECONDS = st.integers(0, 40).map(lambda tenths: tenths / 10)
KEYS = st.sampled_from("abc")


def worked(script, *, workers=3, takes=1.0, fails=lambda _key, _count: False):
    """Play (time, method, arguments…) on a queue with workers; give (key, begin, end) of each work."""

    async def scenario(clock):
        queue, done = WorkQueue(jitter=lambda _low, _high: 1.0), []

        async def worker():
            while True:
                key = await queue.get()
                began = clock()
                await asyncio.sleep(takes)
                done.append((key, began - start, clock() - start))
                if fails(key, sum(one == key for one, _, _ in done)):
                    queue.failed(key)
                else:
                    queue.done(key)

        start = clock()
        tasks = [asyncio.create_task(worker()) for _ in range(workers)]
        for at, method, *arguments in sorted(script, key=lambda step: step[0]):
            await asyncio.sleep(at - (clock() - start))
            getattr(queue, method)(*arguments)
        await asyncio.sleep(1000)
        assert len(queue) == 0
        for task in tasks:
            task.cancel()
        return sorted(done, key=lambda work: work[1])

    return virtually(scenario)


ADDS = st.lists(st.tuples(SECONDS, st.just("add"), KEYS), max_size=15)


@given(ADDS, st.integers(1, 3))
def test_a_key_is_never_worked_on_twice_at_a_time(adds, workers):
    ends = {}
    for key, began, ended in worked(adds, workers=workers):
        assert began >= ends.get(key, 0.0)
        ends[key] = ended


@given(ADDS, st.integers(1, 3))
def test_after_every_wish_the_key_is_worked_on_and_never_more_often_than_wished(adds, workers):
    works = worked(adds, workers=workers)
    for at, _, key in adds:
        assert any(one == key and began >= at - 1e-9 for one, began, _ in works)
    for key in "abc":
        assert sum(one == key for one, _, _ in works) <= sum(one == key for _, _, one in adds)


@given(st.integers(2, 20))
def test_what_comes_back_often_while_it_is_worked_on_is_worked_on_once_more(times):
    adds = [(0.0, "add", "a")] + [(0.5 + index / 100, "add", "a") for index in range(times)]
    assert worked(adds) == [("a", 0.0, 1.0), ("a", 1.0, 2.0)]


def test_many_keys_wait_once_each():
    async def scenario(_clock):
        queue = WorkQueue()
        for key in "abc" * 10:
            queue.add(key)
        assert len(queue) == 3
        assert [await queue.get() for _ in range(3)] == ["a", "b", "c"]
        assert len(queue) == 0

    virtually(scenario)


@given(st.lists(SECONDS.filter(bool), min_size=1, max_size=6))
def test_of_several_times_the_soonest_counts(delays):
    works = worked([(0.0, "add_after", "a", delay) for delay in delays], takes=100.0)
    assert [began for _, began, _ in works] == [pytest.approx(min(delays))]


def test_a_later_time_counts_again_once_the_sooner_has_passed():
    works = worked([(0.0, "add_after", "a", 2.0), (3.0, "add_after", "a", 4.0)])
    assert [began for _, began, _ in works] == [pytest.approx(2.0), pytest.approx(7.0)]


def test_a_key_that_fails_comes_back_later_and_later_and_at_once_when_something_changed():
    works = worked([(0.0, "add", "a")], takes=0.0, fails=lambda _key, count: count < 5)
    assert [began for _, began, _ in works] == [pytest.approx(at) for at in (0, 1, 3, 7, 15)]
    works = worked([(0.0, "add", "a"), (3.5, "add", "a")], takes=0.0, fails=lambda _key, count: count == 3)
    assert [began for _, began, _ in works] == [pytest.approx(at) for at in (0, 3.5)]


def failures(count, retry_after=0.0):
    async def scenario(_clock):
        queue = WorkQueue(jitter=lambda _low, _high: 1.0)
        delays = []
        for _ in range(count):
            queue.add("a")
            delays.append(queue.failed(await queue.get(), retry_after))
        queue.add("a")
        queue.done(await queue.get())
        queue.add("a")
        delays.append(queue.failed(await queue.get()))
        return delays

    return virtually(scenario)


def test_no_wait_is_longer_than_the_longest_and_success_forgets_failures():
    delays = failures(40)
    assert max(delays) == BACKOFF_LAST
    assert delays == [*sorted(delays[:-1]), 1.0]


def test_the_servers_wish_to_wait_longer_is_honoured():
    assert failures(2, retry_after=20.0) == [20.0, 20.0, 1.0]


def test_a_failure_of_one_key_keeps_no_other_waiting():
    works = worked(
        [(0.0, "add", "a"), (0.1, "add", "b")],
        workers=1,
        takes=0.0,
        fails=lambda key, count: key == "a" and count < 3,
    )
    assert next(began for key, began, _ in works if key == "b") == pytest.approx(0.1)


@given(st.floats(0.8, 1.2))
def test_waits_are_scattered(jitter):
    async def scenario(_clock):
        queue = WorkQueue(jitter=lambda low, high: min(max(jitter, low), high))
        queue.add("a")
        return queue.failed(await queue.get())

    assert virtually(scenario) == pytest.approx(jitter)
