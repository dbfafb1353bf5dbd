"""A benchmark that has not begun: what it waits for, and its beginning."""

from __future__ import annotations

from peersdb_operator.benchmark import Benchmark
from peersdb_operator.kube.benchmark import beginning, spread, standings, status
from peersdb_operator.kube.benchmark.finishing import Finish
from peersdb_operator.kube.benchmark.status import Standing
from peersdb_operator.kube.benchmark.subject import Subject

#: Seconds until it is looked at again.
RETRY = 5.0


class Waiting:
    """Begins one benchmark when its turn has come."""

    def __init__(self, subject: Subject, finish: Finish) -> None:
        """Works on ``subject``; ``finish`` ends one that can never begin."""
        self._subject, self._finish = subject, finish
        self._tools, self._key = subject.tools, subject.key

    async def begins(self, benchmark: Benchmark) -> bool:
        """Begin it if all is there, and tell whether it has; else say what it waits for."""
        self._subject.again(RETRY)
        found = await beginning.cluster_of(self._tools, self._key[0], benchmark.cluster)
        if isinstance(found, Standing):
            await self._subject.write(found)
            return False
        cluster, conditions = found
        refused = beginning.refusal(cluster, benchmark)
        if refused:
            await self._finish.end("Refused", refused)
            return False
        place = self._key[0], benchmark.cluster
        other = await beginning.before(self._tools, self._subject.resource, benchmark.cluster)
        claimed = self._tools.claims.get(place, self._key)
        if other or claimed != self._key:
            message = f"PeersDBBenchmark {other or claimed[1]} has PeersDBCluster {benchmark.cluster} first"
            await self._subject.write(status.waiting("ClusterBusy", message))
            return False
        ready = conditions.get("Ready", {})
        if cluster.paused or ready.get("status") != "True":
            why = (
                "is paused"
                if cluster.paused
                else f"is not ready: {ready.get('message', 'nothing is known yet')}"
            )
            await self._subject.write(
                status.waiting("ClusterNotReady", f"PeersDBCluster {benchmark.cluster} {why}")
            )
            return False
        # Between the question and this line nobody else of this process was asked: the claim is ours alone.
        if self._tools.claims.setdefault(place, self._key) != self._key:
            return False
        workers = sum(group.count for group in spread.workers(cluster, benchmark))
        started = ("False", "Starting", "its objects are being made")
        fields = {"startTime": status.whole(self._subject.now), "workers": workers, "progress": "0 %"}
        await self._subject.write(standings.going_on(started, "its pods are being made", fields))
        return True

    async def refuse(self, reason: str, message: str) -> None:
        """Say that a manifest means nothing to this operator; one that runs is ended by it."""
        if "startTime" in self._subject.status:
            await self._finish.end(reason, message)
            return
        waiting = status.waiting(reason, message)
        await self._subject.write(
            Standing(
                waiting.phase,
                waiting.started,
                waiting.progressing,
                waiting.complete,
                degraded=("True", reason, message),
            )
        )
