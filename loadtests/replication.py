"""Replication as an event of its own: posted on one node, how long until another node's ``query`` has it.

The clock starts when ``post`` was answered and stops when an answer to ``query`` that holds the entry was
read; both are read on the load generator, so no clocks are compared. Each other node is watched by one
greenlet, however many entries are awaited: its polls serve all of them. What that costs is bounded in four
ways:

- polls run only while something is awaited;
- the pause between polls starts at 5 ms and grows by a quarter each time, so that the error bar stays near a
  fifth of the time measured; it is never shorter than the last poll took, so that at most half of a node's
  time for this connection goes into being watched;
- once the answer to ``query`` is large, ``status`` is asked first and ``query`` only where the log has
  changed;
- at most ``limit`` entries are awaited at once. Further posts go unprobed and are counted in ``skipped``: a
  sample of the posts, chosen by arrival and never by outcome, since a probe that failed is kept as a failure.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import gevent
from gevent.event import Event

from loadtests.errors import LoadTestError, NodeError
from loadtests.quiet import QuietClient
from loadtests.samples import REPLICATION, Sample
from loadtests.targets import Node

FIRST_PAUSE = 0.005
PAUSE_GROWTH = 1.25
# Someone who waits longer than this does not care for a finer answer.
LONGEST_PAUSE = 0.25
# About 300 entries: below, asking for all costs a node less than asking twice.
LARGE_QUERY = 64 << 10


@dataclass(frozen=True)
class Probe:
    """An entry that is awaited on one node."""

    cid: str
    source: Node
    started: float
    """Wall clock, seconds since the epoch."""

    answered: float
    """When ``post`` was answered, by the monotonic clock."""

    size: int
    """Bytes of the file."""


@dataclass(frozen=True)
class Arrival:
    """The end of a probe."""

    probe: Probe
    seconds: float
    error_bar: float
    """It was there at most this many seconds earlier."""


@dataclass
class Pending:
    """The probes of one node. Pure: times are passed in."""

    timeout: float
    """Seconds from the answer to ``post``."""

    _probes: dict[str, Probe] = field(default_factory=dict)
    _missing_at: dict[str, float] = field(default_factory=dict)
    """The start of the last poll that did not have the entry."""

    def __len__(self) -> int:
        """How many are awaited."""
        return len(self._probes)

    def add(self, probe: Probe) -> None:
        """Await an entry."""
        self._probes[probe.cid] = probe
        self._missing_at[probe.cid] = probe.answered

    def polled(self, answer: bytes, *, began: float, ended: float) -> list[Arrival]:
        """Take an answer to ``query`` that was asked for at ``began`` and read by ``ended``."""
        arrivals = []
        for cid, probe in list(self._probes.items()):
            if cid.encode("ascii") in answer:
                missing_at = self._missing_at[cid]
                arrivals.append(Arrival(probe, ended - probe.answered, ended - missing_at))
                self._drop(cid)
            else:
                self._missing_at[cid] = max(self._missing_at[cid], began)
        return arrivals

    def expired(self, now: float) -> list[Probe]:
        """Give up those whose time is over."""
        late = [probe for probe in self._probes.values() if now - probe.answered >= self.timeout]
        for probe in late:
            self._drop(probe.cid)
        return late

    def _drop(self, cid: str) -> None:
        del self._probes[cid]
        del self._missing_at[cid]


class Replication:
    """Watches nodes for the entries that were posted elsewhere."""

    def __init__(
        self,
        nodes: Sequence[Node],
        report: Callable[[Sample], None],
        *,
        limit: int,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch ``nodes``.

        Args:
            nodes: all nodes under test.
            report: called with one sample per probe, arrived or not.
            limit: entries awaited at once, each on all other nodes.
            timeout: seconds after which an entry counts as failed.
            clock: monotonic, in seconds.
        """
        self._nodes = nodes
        self._report = report
        self._limit = limit
        self._timeout = timeout
        self._clock = clock
        self._open: dict[str, int] = {}
        self._changed = Event()
        self.skipped = 0
        """Posts that were not probed, because ``limit`` entries were awaited already."""

        self._watchers = {node.name: _Watcher(node, self) for node in nodes}

    @property
    def awaited(self) -> int:
        """Entries that have not arrived everywhere."""
        return len(self._open)

    def watch(self, cid: str, source: Node, *, started: float, size: int, wait: bool = False) -> bool:
        """Await a freshly posted entry on all other nodes; call it when ``post`` was answered.

        Args:
            cid: of the file; it must not have been in the log before.
            source: where it was posted.
            started: wall clock at the answer.
            size: bytes of the file.
            wait: wait for a free place rather than leave it out.

        Returns:
            Whether it is watched.

        Raises:
            LoadTestError: ``wait`` was asked for, and no place came free long after every timeout.
        """
        answered = self._clock()
        others = [watcher for name, watcher in self._watchers.items() if name != source.name]
        if not others:
            return False
        while len(self._open) >= self._limit:
            if not wait:
                self.skipped += 1
                return False
            self._changed.clear()
            if not self._changed.wait(2 * self._timeout):
                raise LoadTestError("no place among the awaited entries came free: the watching has stopped")
        self._open[cid] = len(others)
        probe = Probe(cid, source, started, answered, size)
        for watcher in others:
            watcher.add(probe)
        return True

    def drain(self) -> None:
        """Wait until every probe has ended, by arrival or by its timeout, which bounds this."""
        deadline = self._clock() + 2 * self._timeout
        while self._open and self._clock() < deadline:
            self._changed.clear()
            self._changed.wait(deadline - self._clock())

    def close(self) -> None:
        """Stop watching. What is still awaited is reported as failed: nothing is dropped silently."""
        gevent.killall([watcher.greenlet for watcher in self._watchers.values()])
        for watcher in self._watchers.values():
            watcher.give_up(float("inf"), "the run was cut short")

    def ended(self, node: Node, probe: Probe, *, seconds: float, error_bar: float, error: str) -> None:
        """One probe is over; called by the watchers."""
        self._open[probe.cid] -= 1
        if not self._open[probe.cid]:
            del self._open[probe.cid]
        self._changed.set()
        self._report(
            Sample(
                ts=probe.started,
                kind=REPLICATION,
                source=probe.source.name,
                target=node.name,
                source_region=probe.source.region,
                target_region=node.region,
                seconds=seconds,
                late=0.0,
                error_bar=error_bar,
                bytes=probe.size,
                ok=not error,
                error=error,
            )
        )

    @property
    def timeout(self) -> float:
        """Seconds after which an entry counts as failed."""
        return self._timeout

    def now(self) -> float:
        """The monotonic clock."""
        return self._clock()


class _Watcher:
    """Polls one node while something is awaited there."""

    def __init__(self, node: Node, owner: Replication) -> None:
        self._node = node
        self._owner = owner
        self._pending = Pending(owner.timeout)
        self._wake = Event()
        self._pause = FIRST_PAUSE
        self._large = False
        self._fingerprint: object = None
        self.greenlet = gevent.spawn(self._run)

    def add(self, probe: Probe) -> None:
        self._pending.add(probe)
        self._pause = FIRST_PAUSE
        self._wake.set()

    def give_up(self, now: float, why: str) -> None:
        for probe in self._pending.expired(now):
            seconds = min(now, self._owner.now()) - probe.answered
            self._owner.ended(self._node, probe, seconds=seconds, error_bar=0.0, error=why)

    def _run(self) -> None:
        # Half the time at most: a node that hangs must not turn one timeout into two.
        with QuietClient(self._node, timeout=self._owner.timeout / 2) as client:
            while True:
                self._wake.wait()
                trouble = self._poll(client)
                self.give_up(self._owner.now(), self._why(trouble))
                if not len(self._pending):
                    self._wake.clear()

    def _poll(self, client: QuietClient) -> LoadTestError | None:
        """Ask once, then pause. Returns what went wrong, if anything did."""
        began = self._owner.now()
        trouble = None
        try:
            if self._has_news(client):
                asked = self._owner.now()
                answer = client.query()
                self._large = len(answer) > LARGE_QUERY
                ended = self._owner.now()
                for arrival in self._pending.polled(answer, began=asked, ended=ended):
                    self._owner.ended(
                        self._node,
                        arrival.probe,
                        seconds=arrival.seconds,
                        error_bar=arrival.error_bar,
                        error="",
                    )
        except NodeError as error:
            trouble = error
        took = self._owner.now() - began
        if len(self._pending):
            self._wake.clear()
            self._wake.wait(max(self._pause, took))
            self._wake.set()
            self._pause = min(self._pause * PAUSE_GROWTH, LONGEST_PAUSE)
        return trouble

    def _has_news(self, client: QuietClient) -> bool:
        if not self._large:
            return True
        fingerprint = client.status().get("fingerprint")
        changed = fingerprint is None or fingerprint != self._fingerprint
        self._fingerprint = fingerprint
        return changed

    def _why(self, trouble: LoadTestError | None) -> str:
        why = f"not in {self._node.name}'s query within {self._owner.timeout:g} s"
        return f"{why}; {trouble}" if trouble else why
