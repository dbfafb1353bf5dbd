"""Workers and their queue: what is given back, what is counted, what a health check may believe."""

import asyncio

import pytest
from kube_support import virtually

from peersdb_operator.errors import Refused, Unavailable
from peersdb_operator.kube import operator as under_test
from peersdb_operator.kube.operator import RECONCILE_TIMEOUT, Operator, Scope

KEY = ("data", "demo")
SCOPE = Scope((), "peersdb-system", "me")


class Scripted:
    """A reconcile that ends as it is told, one after the other; None hangs."""

    def __init__(self, *ends):
        self.ends, self.keys = list(ends), []

    async def reconcile(self, key):
        self.keys.append(key)
        end = self.ends.pop(0) if self.ends else ""
        if end is None:
            await asyncio.Event().wait()
        if isinstance(end, Exception):
            raise end


async def worked(operator, reconciler, seconds):
    """Let one worker work for so long."""
    task = asyncio.create_task(operator._worker(reconciler))
    await asyncio.sleep(seconds)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def counted(operator, result):
    return operator.metrics.registry.get_sample_value("peersdb_operator_reconciles_total", {"result": result})


def test_what_was_on_its_way_when_the_lease_was_lost_is_worked_on_by_the_next_term():
    async def scenario(clock):
        operator = Operator(SCOPE, clock)
        operator.queue.add(KEY)
        await worked(operator, Scripted(None), 1)
        operator.queue.add(KEY)
        again = Scripted()
        await worked(operator, again, 1)
        assert again.keys == [KEY]

    virtually(scenario)


@pytest.mark.parametrize(
    "error", [Unavailable("away"), Refused("no", 422), KeyError("a bug"), TimeoutError()]
)
def test_no_error_of_one_cluster_ends_a_worker_and_each_is_tried_again(error, caplog):
    async def scenario(clock):
        operator = Operator(SCOPE, clock)
        reconciler = Scripted(error)
        operator.queue.add(KEY)
        operator.queue.add(("data", "other"))
        await worked(operator, reconciler, 5)
        assert reconciler.keys == [KEY, ("data", "other"), KEY]
        assert (counted(operator, "error"), counted(operator, "ok")) == (1, 2)
        assert (str(error) or "TimeoutError") in caplog.text

    virtually(scenario)


def test_a_reconcile_that_hangs_is_given_up():
    async def scenario(clock):
        operator = Operator(SCOPE, clock)
        reconciler = Scripted(None)
        operator.queue.add(KEY)
        await worked(operator, reconciler, RECONCILE_TIMEOUT + 5)
        assert reconciler.keys == [KEY, KEY]

    virtually(scenario)


def test_the_servers_wish_to_be_left_alone_is_kept():
    async def scenario(clock):
        operator = Operator(SCOPE, clock)
        reconciler = Scripted(Unavailable("busy", 429, 20.0))
        operator.queue.add(KEY)
        await worked(operator, reconciler, 19)
        assert reconciler.keys == [KEY]
        await worked(operator, reconciler, 2)
        assert reconciler.keys == [KEY, KEY]

    virtually(scenario)


def test_only_a_leader_whose_clusters_wait_is_stuck():
    async def scenario(clock):
        operator = Operator(SCOPE, clock)
        operator.queue.add(KEY)
        await asyncio.sleep(1000)
        assert operator.idle_seconds() == 0  # it does not lead: nobody works here
        operator.queue.done(await operator.queue.get())

        async def work(_kube, _group):
            assert operator.idle_seconds() == 0  # nothing waits
            operator.queue.add(KEY)
            await asyncio.sleep(1000)
            assert operator.idle_seconds() == 1000

        operator._work = work
        await operator.lead(None)

    virtually(scenario)


def test_a_new_leader_is_not_stuck_for_having_waited():
    async def scenario(clock):
        operator = Operator(SCOPE, clock)
        operator.queue.add(KEY)
        await asyncio.sleep(1000)

        async def work(_kube, _group):
            assert operator.leading
            assert operator.metrics.registry.get_sample_value("peersdb_operator_leader") == 1
            await asyncio.sleep(2)
            assert operator.idle_seconds() == 2

        operator._work = work
        await operator.lead(None)
        assert not operator.leading
        assert operator.metrics.registry.get_sample_value("peersdb_operator_leader") == 0

    virtually(scenario)


def test_the_error_that_ends_a_leaders_work_is_told_itself_and_not_a_group_of_it():
    async def scenario(clock):
        operator = Operator(SCOPE, clock)

        async def work(_kube, group):
            async def fail():
                raise Refused("it may not")

            group.create_task(asyncio.Event().wait())
            group.create_task(fail())

        operator._work = work
        with pytest.raises(Refused, match="it may not"):
            await operator.lead(None)

    virtually(scenario)


def test_a_reconcile_ends_before_the_process_counts_as_stuck():
    from peersdb_operator.kube.run import EXIT_TIMEOUT, STUCK_AFTER

    assert under_test.RECONCILE_TIMEOUT < STUCK_AFTER
    assert EXIT_TIMEOUT < 30  # the grace period that Kubernetes gives
