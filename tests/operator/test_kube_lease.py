"""At most one leader, whatever the API server does: in virtual time, for a real server does not hang on demand."""

import asyncio
import contextlib
import itertools
from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kube_support import virtually

from peersdb_operator.errors import Conflict, NotFound, Unavailable
from peersdb_operator.kube.client import REQUEST_TIMEOUT
from peersdb_operator.kube.lease import Lease, Times

TIMES = Times()


@dataclass(frozen=True)
class Fault:
    """Of one client's requests that begin in these seconds: ``refused`` at once, ``hangs`` without being done, ``late``
    is done and answered so many seconds after.
    """

    begin: float
    end: float
    kind: str
    seconds: float = 60.0


class Server:
    """One Lease behind compare-and-swap, as etcd does it."""

    def __init__(self, clock):
        self.clock, self.lease, self.versions = clock, None, itertools.count(1)

    def client(self, *faults):
        return Client(self, faults)

    def _get(self, _obj):
        if self.lease is None:
            raise NotFound("no lease", 404)
        return self.lease

    def _create(self, obj):
        if self.lease is not None:
            raise Conflict("it exists", 409)
        return self._keep(obj)

    def _replace(self, obj):
        if obj["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise Conflict("it was changed", 409)
        return self._keep(obj)

    def _keep(self, obj):
        self.lease = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(next(self.versions))}}
        return self.lease


class Client:
    def __init__(self, server, faults=()):
        self.server, self.faults = server, faults

    async def _ask(self, do, obj=None):
        """As `Kube`: a request that takes longer than its limit has no answer, whether it was done or not."""
        now = self.server.clock()
        fault = next((fault for fault in self.faults if fault.begin <= now - 1000 < fault.end), None)
        await asyncio.sleep(0.01)
        if fault is None:
            return do(obj)
        if fault.kind == "refused":
            raise Unavailable("nobody listens")
        done = do(obj) if fault.kind == "late" else None
        await asyncio.sleep(min(fault.seconds, REQUEST_TIMEOUT))
        if fault.kind == "hangs" or fault.seconds >= REQUEST_TIMEOUT:
            raise Unavailable("no answer")
        return done

    async def get(self, _kind, _namespace, _name):
        return await self._ask(self.server._get)

    async def create(self, _kind, obj):
        return await self._ask(self.server._create, obj)

    async def replace(self, _kind, obj):
        return await self._ask(self.server._replace, obj)


class Operators:
    """Several that stand for election; who works when is kept."""

    def __init__(self, clock):
        self.clock, self.server = clock, Server(clock)
        self.terms, self.working, self.tasks = [], set(), {}

    def start(self, name, *faults, clean_up=0.0, identity=None):
        client = self.server.client(*faults)
        lease = Lease(client, "peersdb-system", "operator", identity or name, times=TIMES, clock=self.clock)
        self.tasks[name] = asyncio.create_task(lease.lead(lambda: self._work(name, clean_up)))
        return lease

    async def _work(self, name, clean_up):
        assert not self.working, f"{name} leads beside {self.working} at {self.clock() - 1000}"
        self.working.add(name)
        self.terms.append((name, self.clock() - 1000))
        try:
            await asyncio.Event().wait()
        finally:
            if clean_up:
                await asyncio.sleep(clean_up)
            self.working.discard(name)

    async def end(self, name):
        """As SIGTERM."""
        task = self.tasks.pop(name)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def at(self, seconds):
        await asyncio.sleep(seconds - (self.clock() - 1000))
        for task in self.tasks.values():
            assert not task.done(), task


def played(scenario):
    async def run(clock):
        operators = Operators(clock)
        await scenario(operators)
        for name in list(operators.tasks):
            await operators.end(name)
        return operators.terms

    return virtually(run)


def test_the_first_leads_at_once_and_the_others_wait_as_long_as_it_does():
    async def scenario(operators):
        for name in "abc":
            operators.start(name)
        await operators.at(600)
        assert len(operators.working) == 1

    terms = played(scenario)
    assert len(terms) == 1
    assert terms[0][1] < 1


def test_another_leads_soon_after_a_leader_that_says_goodbye():
    async def scenario(operators):
        operators.start("a")
        await operators.at(1)
        operators.start("b")
        await operators.at(100)
        await operators.end("a")
        await operators.at(110)
        assert operators.working == {"b"}

    assert played(scenario)[1][1] <= 100 + TIMES.period + 0.1


def test_another_leads_when_the_lease_of_a_killed_leader_is_over():
    async def scenario(operators):
        operators.start("a", Fault(100, 999, "hangs"))
        await operators.at(1)
        operators.start("b")
        await operators.at(200)
        assert operators.working == {"b"}

    (_, first), (name, second) = played(scenario)
    assert (first < 1, name) == (True, "b")
    assert TIMES.duration - TIMES.period <= second - 100 <= TIMES.duration + TIMES.period + 0.1


@pytest.mark.parametrize("kind", ["refused", "hangs", "late"])
def test_a_leader_without_its_api_server_stops_before_another_may_lead(kind):
    async def scenario(operators):
        operators.start(
            "a", Fault(100, 999, kind), clean_up=TIMES.duration - TIMES.deadline - TIMES.period - 1
        )
        await operators.at(1)
        operators.start("b")
        await operators.at(100 + TIMES.deadline + TIMES.period + 3)
        assert operators.working == set()
        await operators.at(130)
        assert operators.working == {"b"}

    assert [name for name, _ in played(scenario)] == ["a", "b"]


def test_short_outages_change_no_leader():
    async def scenario(operators):
        faults = [Fault(at, at + 5, kind) for at, kind in [(20, "refused"), (50, "refused"), (80, "refused")]]
        operators.start("a", *faults)
        await operators.at(1)
        operators.start("b", *faults)
        await operators.at(300)

    assert [name for name, _ in played(scenario)] == ["a"]


def test_who_is_elected_by_an_answer_that_came_too_late_does_not_begin():
    """The Lease was written long ago: its time may be over for others before it is for us."""

    async def scenario(operators):
        operators.start("a", Fault(0, 1, "late", 7.4), Fault(20, 999, "hangs"))
        await operators.at(1)
        operators.start("b")
        await operators.at(100)

    terms = played(scenario)
    assert [name for name, _ in terms][-1] == "b"


FAULTS = st.lists(
    st.builds(
        lambda begin, length, kind, seconds: Fault(begin, begin + length, kind, seconds),
        st.integers(0, 100),
        st.integers(1, 40),
        st.sampled_from(["refused", "hangs", "late"]),
        st.sampled_from([1.0, 4.0, 6.0, 9.0, 12.0, 14.9, 60.0]),
    ),
    max_size=4,
)


@settings(max_examples=150)
@given(FAULTS, FAULTS, FAULTS)
@example([Fault(0, 1, "late", 14.9), Fault(15, 99, "hangs")], [], [])
@example([Fault(0.005, 1, "late", 9.0), Fault(10, 99, "hangs")], [], [])
def test_there_are_never_two_leaders_and_in_the_end_there_is_one(one, two, three):
    async def scenario(operators):
        for name, faults in (("a", one), ("b", two), ("c", three)):
            operators.start(name, *faults)
        await operators.at(140 + 2 * TIMES.duration + 10)
        assert len(operators.working) == 1

    played(scenario)


def test_a_process_that_starts_again_under_its_name_leads_at_once():
    async def scenario(operators):
        operators.start("a", Fault(50, 999, "hangs"), identity="pod")
        await operators.at(1)
        operators.start("b")
        await operators.at(49)
        operators.working.clear()  # its process died; the kubelet starts it again
        operators.start("c", identity="pod")
        await operators.at(52)
        assert operators.working == {"c"}

    played(scenario)


def test_an_error_of_the_work_ends_the_term_and_is_told():
    async def run(clock):
        server = Server(clock)
        lease = Lease(server.client(), "peersdb-system", "operator", "a", clock=clock)

        async def work():
            raise LookupError("a bug")

        with pytest.raises(LookupError):
            await lease.lead(work)
        assert server.lease["spec"]["holderIdentity"] == ""

    virtually(run)


def test_the_lease_says_who_leads_since_when_and_how_often_that_changed():
    async def scenario(operators):
        operators.start("a")
        await operators.at(10)
        spec = operators.server.lease["spec"]
        assert spec["holderIdentity"] == "a"
        assert (spec["leaseDurationSeconds"], spec["leaseTransitions"]) == (TIMES.duration, 1)
        assert spec["acquireTime"] < spec["renewTime"]
        operators.start("b")
        await operators.end("a")
        await operators.at(20)
        assert operators.server.lease["spec"]["leaseTransitions"] == 2

    played(scenario)


def test_a_leader_has_stopped_before_its_lease_is_over():
    assert TIMES.deadline + TIMES.period < TIMES.duration
