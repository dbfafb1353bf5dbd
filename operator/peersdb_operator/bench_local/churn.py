"""The faults of the profile ``churn``: a member is killed, and its supervisor starts it again."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from peersdb_operator.benchmark import Benchmark
from peersdb_operator.cluster import Cluster
from peersdb_operator.errors import BenchmarkError
from peersdb_operator.local.state import StateDir
from peersdb_operator.members import of_cluster

Event = dict[str, Any]


def victims(cluster: Cluster, benchmark: Benchmark) -> tuple[str, ...]:
    """Name the members that may be killed, in turn: those of one region; a root only if there are others.

    Raises:
        BenchmarkError: there are none.
    """
    region = benchmark.faults.region or (
        cluster.regions[-1].region if cluster.regions else cluster.root.region
    )
    found = [member for member in of_cluster(cluster) if member.group.region == region]
    if cluster.root.replicas < 2:
        found = [member for member in found if not member.is_root]
    if not found:
        raise BenchmarkError(
            f"churn: region {region!r} has no member that may be killed (the only root is not):"
            " name another by spec.faults.region"
        )
    return tuple(member.name for member in found)


@dataclass(slots=True)
class Churn:
    """Kills members by the clock, and sees them come back.

    Attributes:
        state: the cluster's directory.
        names: the members that may be killed.
        interval: seconds from one to the next.
        wall: seconds since the epoch.
    """

    state: StateDir
    names: Sequence[str]
    interval: float
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
        if wanted and now >= self._next:
            name = self._ready_one(members)
            if name is not None:
                events.append(self._kill(members[name]))
                self._next = now + self.interval
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

    def _ready_one(self, members: dict[str, Any]) -> str | None:
        """Choose the next in turn that is ready: one that is down is not killed again before it is back."""
        for offset in range(len(self.names)):
            name = self.names[(self._turn + offset) % len(self.names)]
            if name not in self._down and members.get(name, {}).get("ready"):
                self._turn += offset + 1
                return name
        return None

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
