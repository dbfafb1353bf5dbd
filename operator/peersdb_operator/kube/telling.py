"""How a cluster stands, told: to Prometheus, in its status, and by events for what changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peersdb_operator import names
from peersdb_operator.kube import conditions
from peersdb_operator.kube.kinds import CLUSTER
from peersdb_operator.kube.observed import PodFacts
from peersdb_operator.kube.resource import write_status
from peersdb_operator.kube.subject import Subject

#: A status is written at most once in so many seconds, unless a condition changed.
STATUS_INTERVAL = 5.0


class Telling:
    """Tells how one cluster stands."""

    def __init__(self, subject: Subject) -> None:
        """Works on ``subject``."""
        self._subject, self._tools = subject, subject.tools

    async def tell(self, status: dict[str, Any]) -> None:
        """Write the status where it differs, and an event for each condition that changed."""
        facts: dict[str, list[PodFacts]] = {}
        for name, fact in self._subject.observed.facts.items():
            if name in self._subject.observed.pods:
                labels = self._subject.observed.pods[name]["metadata"].get("labels") or {}
                facts.setdefault(labels.get(names.REGION_LABEL, ""), []).append(fact)
        self._tools.metrics.cluster(self._subject.key, status, facts)
        if status == self._subject.status:
            return
        news = list(conditions.changed(self._subject.status, status))
        clock, written = self._tools.environment.clock(), self._tools.status_written
        since = clock - written.get(self._subject.key, -STATUS_INTERVAL)
        same_spec = status["observedGeneration"] == self._subject.status.get("observedGeneration")
        if not news and same_spec and since < STATUS_INTERVAL:
            self._subject.again(STATUS_INTERVAL - since)
            return
        await write_status(self._tools.kube, CLUSTER, self._subject.resource, status)
        written[self._subject.key] = clock
        for condition in news:
            await self._condition_event(condition)

    async def _condition_event(self, condition: Mapping[str, Any]) -> None:
        before = {c["type"]: c for c in self._subject.status.get("conditions", [])}.get(condition["type"])
        good = {"Degraded": "False", "ScaleDownBlocked": "False", "Paused": "False", "Progressing": "False"}
        fine = condition["status"] == good.get(condition["type"], "True")
        if before is None and fine:
            return  # nothing happened: it is as it should be from the start
        warning = not fine and condition["type"] not in ("Progressing", "Paused", "ReplicationHealthy")
        # While a cluster comes up it is not ready; that is no news.
        if condition["type"] in ("Ready", "RootAvailable") and before is None:
            warning = False
        await self._subject.event(condition["reason"], condition["message"], warning=warning)
