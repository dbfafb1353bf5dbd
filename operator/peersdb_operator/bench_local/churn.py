"""The faults of the profile ``churn``: a member is killed, and its supervisor starts it again."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from peersdb_operator import load
from peersdb_operator.benchmark import Benchmark
from peersdb_operator.cluster import Cluster
from peersdb_operator.errors import BenchmarkError
from peersdb_operator.local.state import StateDir
from peersdb_operator.members import of_cluster

Event = dict[str, Any]


def check(cluster: Cluster, benchmark: Benchmark) -> None:
    """Refuse a cluster without members that may be killed.

    Raises:
        BenchmarkError: it has none.
    """
    if not load.victims(cluster, benchmark):
        where = f"region {benchmark.faults.region!r}" if benchmark.faults.region else f"{cluster.name!r}"
        raise BenchmarkError(
            f"churn: {where} has no member that may be killed (the only root is not):"
            " add peers, or name another region by spec.faults.region"
        )


@dataclass(slots=True)
class Churn:
    """Kills members by the clock, one at a time, and sees them come back.

    Attributes:
        cluster: whose members.
        benchmark: the manifest.
        state: the cluster's directory.
        wall: seconds since the epoch.
    """

    cluster: Cluster
    benchmark: Benchmark
    state: StateDir
    wall: Callable[[], float]
    _next: float = 0.0
    _turn: int = 0
    _down: dict[str, int] = field(default_factory=dict)

    @property
    def down(self) -> list[str]:
        """The members that were killed and are not back."""
        return sorted(self._down)

    def tend(self, now: float, *, wanted: bool) -> list[Event]:
        """Do what is due; gives what happened, as the load test is told it.

        Args:
            now: seconds on a monotonic clock.
            wanted: whether the load test wants faults now.
        """
        seen = self.state.status()
        members = {member["name"]: member for member in seen["local"]["members"]} if seen else {}
        events = self._returned(members)
        # Two that are away at once would be another measurement, and may be all roots.
        if wanted and now >= self._next and not self._down and self._calm(members):
            victim = load.victim(self.cluster, self.benchmark, self._turn)
            events.append(self._kill(members[victim.name]))
            self._turn, self._next = self._turn + 1, now + self.benchmark.faults.interval
        return events

    def _returned(self, members: dict[str, Any]) -> list[Event]:
        back = [
            name
            for name, pid in self._down.items()
            if (member := members.get(name)) and member.get("ready") and member["pid"] != pid
        ]
        for name in back:
            del self._down[name]
        return [self._event("back", members[name]) for name in back]

    def _calm(self, members: dict[str, Any]) -> bool:
        return all(members.get(it.name, {}).get("ready") for it in of_cluster(self.cluster))

    def _kill(self, member: dict[str, Any]) -> Event:
        name = member["name"]
        record = self.state.memory().members[name]
        event = self._event("deleted", member)
        if record.process is not None:
            self._down[name] = record.process.pid
            record.process.signal(signal.SIGKILL)
        return event

    def _event(self, kind: str, member: dict[str, Any]) -> Event:
        return {"kind": kind, "at": self.wall(), "region": member["region"], "members": [target(member)]}


def target(member: dict[str, Any]) -> dict[str, str]:
    """Give a member of a local cluster's status as the load test reads it."""
    return {field: member[field] for field in ("name", "http", "region", "role")}
