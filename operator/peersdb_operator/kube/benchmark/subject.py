"""One benchmark in one reconcile: what it is, what is remembered of it, and its status, read and written."""

from __future__ import annotations

from typing import Any

from peersdb_operator.kube.benchmark import status
from peersdb_operator.kube.benchmark.status import Standing
from peersdb_operator.kube.benchmark.tools import Tools
from peersdb_operator.kube.cache import Key
from peersdb_operator.kube.conditions import changed
from peersdb_operator.kube.kinds import BENCHMARK, Object
from peersdb_operator.kube.resource import write_status

#: A status is written at most once in so many seconds, unless its phase or a condition changed.
STATUS_INTERVAL = 5.0


class Subject:
    """The benchmark that a reconcile works on.

    Attributes:
        tools: to work with.
        key: of the benchmark.
        resource: as it was read.
        uid: of the resource.
        status: as it was read, or written since.
        memory: what is remembered of it.
        now: seconds since the epoch.
    """

    def __init__(self, tools: Tools, key: Key, resource: Object) -> None:
        """Knows what there is of it."""
        self.tools, self.key, self.resource = tools, key, resource
        self.uid = str(resource["metadata"]["uid"])
        self.status: dict[str, Any] = resource.get("status") or {}
        self.memory = tools.memory(key, self.uid)
        self.now = tools.environment.now()

    def again(self, seconds: float) -> None:
        """Have it looked at again."""
        self.tools.again(self.key, seconds)

    def condition(self, kind: str) -> dict[str, Any] | None:
        """Give a condition as it stands."""
        return next((c for c in self.status.get("conditions", []) if c["type"] == kind), None)

    def holds(self, kind: str) -> bool:
        """Tell whether a condition is there and true."""
        found = self.condition(kind)
        return bool(found and found["status"] == "True")

    async def write(self, standing: Standing, *, at_once: bool = False) -> None:
        """Write the status where it differs, and an event for each condition that changed."""
        after = status.make(
            self.status, standing, generation=int(self.resource["metadata"]["generation"]), now=self.now
        )
        if after == self.status:
            return
        news = list(changed(self.status, after))
        kept = ("phase", "fault", "wave")  # what the next step goes by is written at once
        same = not news and all(after.get(name) == self.status.get(name) for name in kept)
        written = self.memory.written
        clock = self.tools.environment.clock()
        if same and not at_once and written is not None and clock - written < STATUS_INTERVAL:
            self.again(STATUS_INTERVAL - (clock - written))
            return
        before = self.status
        await self.patch(after)
        self.memory.written = clock
        for condition in news:
            await self._event(condition, before)

    async def patch(self, after: dict[str, Any]) -> None:
        """Write a status as it is given."""
        await write_status(self.tools.kube, BENCHMARK, self.resource, after)
        self.status = after
        self.tools.metrics.benchmark(self.key, str(after.get("phase") or status.PENDING))

    async def _event(self, condition: dict[str, Any], before: dict[str, Any]) -> None:
        kind, state = condition["type"], condition["status"]
        if kind not in ("Started", "Complete", "Degraded") or (kind == "Started" and state == "False"):
            return
        if (
            kind == "Complete"
            and state == "False"
            and condition["reason"] in (status.RUNNING, status.COLLECTING)
        ):
            return
        if kind == "Degraded" and not before and state == "False":
            return
        warning = (
            state == "True" and (kind == "Degraded" or condition["reason"] != "Passed") and kind != "Started"
        )
        await self.tools.events.post(
            self.resource, condition["reason"], condition["message"], warning=warning
        )
