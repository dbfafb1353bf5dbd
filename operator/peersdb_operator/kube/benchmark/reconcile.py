"""One idempotent reconcile of one benchmark: wait, begin, go on, end, clean up.

What must outlive this process stands in the status: when it began and ended, what is broken, which wave was raised,
where the results are. Everything else is seen anew.
"""

from __future__ import annotations

import logging
from typing import Any

from peersdb_operator import benchmark as manifests
from peersdb_operator import cluster as clusters
from peersdb_operator import load
from peersdb_operator.benchmark import Benchmark
from peersdb_operator.cluster import Cluster
from peersdb_operator.errors import Conflict, ManifestError, NotFound
from peersdb_operator.kube import secrets
from peersdb_operator.kube.benchmark import (
    beginning,
    ending,
    faults,
    joining,
    naming,
    pods,
    spread,
    status,
)
from peersdb_operator.kube.benchmark.observed import held_up, lost, observe
from peersdb_operator.kube.benchmark.results import Outcome
from peersdb_operator.kube.benchmark.status import Standing
from peersdb_operator.kube.benchmark.tools import Run, Tools
from peersdb_operator.kube.benchmark.watcher import Master
from peersdb_operator.kube.cache import Key
from peersdb_operator.kube.conditions import changed
from peersdb_operator.kube.kinds import BENCHMARK, CLUSTER, JOB, SECRET, Object
from peersdb_operator.load import Progress

log = logging.getLogger("peersdb.benchmark")

#: Seconds until one that waits is looked at again, and one that runs.
WAIT_RETRY, RUN_RETRY = 5.0, 2.0
#: A status is written at most once in so many seconds, unless its phase or a condition changed.
STATUS_INTERVAL = 5.0

_NOT_BEGUN = ("False", "NotBegun", "the run has not begun")


class BenchmarkReconciler:
    """Runs benchmarks as their manifests say."""

    def __init__(self, tools: Tools) -> None:
        """Works with ``tools``."""
        self._tools = tools

    async def reconcile(self, key: Key) -> None:
        """Bring one benchmark nearer to its end.

        Raises:
            KubeError: the API server was in the way; try again later.
        """
        try:
            resource = await self._tools.kube.get(BENCHMARK, *key)
        except NotFound:
            self._tools.forget(key)
            return
        if "deletionTimestamp" in resource["metadata"]:
            self._tools.forget(key)  # what it is made of goes with it, by the owner references
            return
        await _Pass(self._tools, key, resource).run()


class _Pass:
    """One reconcile: what it works on, step by step."""

    def __init__(self, tools: Tools, key: Key, resource: Object) -> None:
        self._tools, self._kube, self._key, self._resource = tools, tools.kube, key, resource
        self._uid = str(resource["metadata"]["uid"])
        self._status: dict[str, Any] = resource.get("status") or {}
        self._memory = tools.memory(key, self._uid)
        self._now = tools.environment.now()

    async def run(self) -> None:
        self._tools.metrics.benchmark(self._key, str(self._status.get("phase") or status.PENDING))
        if "completionTime" in self._status:
            await self._clean_up()
            return
        try:
            benchmark = manifests.from_object(self._resource)
        except ManifestError as error:
            await self._refuse("InvalidSpec", "; ".join(str(fault) for fault in error.faults[:3]))
            return
        if "startTime" in self._status:
            self._tools.claims[self._key[0], benchmark.cluster] = self._key
            await self._go_on(benchmark)
        else:
            await self._wait(benchmark)

    # Waiting.

    async def _wait(self, benchmark: Benchmark) -> None:
        self._tools.again(self._key, WAIT_RETRY)
        found = await self._cluster(benchmark.cluster)
        if isinstance(found, Standing):
            await self._write(found)
            return
        cluster, conditions = found
        refused = beginning.refusal(cluster, benchmark)
        if refused:
            await self._end("Refused", refused)
            return
        place = self._key[0], benchmark.cluster
        other = await beginning.before(self._tools, self._resource, benchmark.cluster)
        claimed = self._tools.claims.get(place, self._key)
        if other or claimed != self._key:
            message = f"PeersDBBenchmark {other or claimed[1]} has PeersDBCluster {benchmark.cluster} first"
            await self._write(status.waiting("ClusterBusy", message))
            return
        ready = conditions.get("Ready", {})
        if cluster.paused or ready.get("status") != "True":
            why = (
                "is paused"
                if cluster.paused
                else f"is not ready: {ready.get('message', 'nothing is known yet')}"
            )
            await self._write(status.waiting("ClusterNotReady", f"PeersDBCluster {benchmark.cluster} {why}"))
            return
        # Between the question and this line nobody else of this process was asked: the claim is ours alone.
        if self._tools.claims.setdefault(place, self._key) != self._key:
            return
        workers = sum(group.count for group in spread.workers(cluster, benchmark))
        started = ("False", "Starting", "its objects are being made")
        fields = {"startTime": status.whole(self._now), "workers": workers, "progress": "0 %"}
        await self._write(self._standing(started, "its pods are being made", fields))
        await self._go_on(benchmark)

    async def _cluster(self, name: str) -> tuple[Cluster, dict[str, Any]] | Standing:
        """Read the cluster and its conditions, or say what is wrong with it."""
        try:
            resource = await self._kube.get(CLUSTER, self._key[0], name)
        except NotFound:
            return status.waiting(
                "ClusterNotFound", f"there is no PeersDBCluster {name} in this namespace: make it"
            )
        if "deletionTimestamp" in resource["metadata"]:
            return status.waiting("ClusterNotFound", f"PeersDBCluster {name} is being deleted")
        try:
            cluster = clusters.from_object(resource)
        except ManifestError as error:
            return status.waiting("ClusterInvalid", f"PeersDBCluster {name}: {error.faults[0]}")
        found = (resource.get("status") or {}).get("conditions", [])
        return cluster, {condition["type"]: condition for condition in found}

    async def _refuse(self, reason: str, message: str) -> None:
        """Says that a manifest means nothing to this operator; one that runs is ended by it."""
        if "startTime" in self._status:
            await self._end(reason, message)
            return
        waiting = status.waiting(reason, message)
        await self._write(
            Standing(
                waiting.phase,
                waiting.started,
                waiting.progressing,
                waiting.complete,
                degraded=("True", reason, message),
            )
        )

    # Running.

    async def _go_on(self, benchmark: Benchmark) -> None:
        self._tools.again(self._key, RUN_RETRY)
        found = await self._cluster(benchmark.cluster)
        if isinstance(found, Standing):
            await self._end("ClusterGone", found.started[2])
            return
        cluster, conditions = found
        if not self._condition("Started"):
            taken = await beginning.make(self._tools, self._key, cluster, benchmark, self._uid)
            if taken:
                await self._end("NameTaken", taken)
                return
            await self._write(
                self._standing(("True", "Begun", "all its objects were made"), "waits for its pods", {})
            )
        observed = observe(self._tools.cache, self._key, self._uid)
        await self._listen(benchmark, observed.master_address())
        run = Run(self._key, self._uid, benchmark, cluster, self._status, observed, self._memory, self._now)
        progress = self._tools.watcher.progress(self._key)
        if self._status.get("results"):
            await self._release(run)
            return
        outcome = None
        if progress is not None and progress.state == "done":
            outcome = self._tools.watcher.collect(self._key)
        if outcome is not None:
            await self._keep(run, outcome, progress)
            return
        broken = await self._broken(run, progress)
        if broken:
            await self._end(*broken)
            return
        await self._act(run, progress, conditions)
        await self._write(self._running(run, progress))

    async def _listen(self, benchmark: Benchmark, address: str) -> None:
        """Has the master listened to, with the token of its Secret."""
        known = self._tools.watcher.master(self._key)
        if known is not None:
            if address and known.address != address:
                self._tools.watcher.watch(self._key, Master(address, known.token, known.claim))
            return
        try:
            secret = await self._kube.get(SECRET, self._key[0], naming.control(self._key[1]))
        except NotFound:
            return
        token = secrets.text_of(secret, pods.TOKEN_FILE)
        self._tools.watcher.watch(self._key, Master(address, token, benchmark.results_claim is not None))

    async def _broken(self, run: Run, progress: Progress | None) -> tuple[str, str] | None:
        """Say why a run cannot come to its end any more."""
        observed, since = run.observed, run.now - status.at(self._status["startTime"])
        job = observed.jobs.get(naming.master(self._key[1]))
        if job is None:
            try:
                await self._kube.get(JOB, self._key[0], naming.master(self._key[1]))
            except NotFound:
                return "MasterLost", f"the Job {naming.master(self._key[1])} was deleted"
        ended = job["status"]["ended"] if job else ""
        if ended == "DeadlineExceeded" or since > load.longest(run.benchmark):
            return "DeadlineExceeded", f"it has not ended after {load.longest(run.benchmark):.0f} s"
        words = lost(observed.masters)
        if ended == "Complete":
            why = self._tools.watcher.failed(self._key) or "nobody asked for them in time"
            return "ResultsLost", f"the master has ended, and its results were not fetched: {why}"
        if ended or words:
            return "MasterLost", "; ".join(words) or f"the master's Job failed: {ended}"
        waiting = progress is None or progress.state == "waiting"
        if waiting and since > pods.START_TIMEOUT:
            why = "; ".join(held_up((*observed.masters, *observed.workers))) or _missing(progress)
            return "PodsNotStarted", f"not all load pods are at work after {pods.START_TIMEOUT:.0f} s: {why}"
        return None

    async def _act(self, run: Run, progress: Progress | None, conditions: dict[str, Any]) -> None:
        """Makes the faults and the newcomers that the run wants."""

        async def write() -> None:
            await self._write(self._running(run, progress), at_once=True)

        if run.benchmark.profile == load.BOOTSTRAP:
            await joining.step(self._tools, run, wanted=progress.wave if progress else 0, write=write)
        elif run.benchmark.profile in (load.CHURN, load.PARTITION):
            calm = conditions.get("Ready", {}).get("status") == "True"
            wanted = None if progress is None else progress.state == "running" and progress.fault
            await faults.step(self._tools, run, wanted=wanted, calm=calm, write=write)

    def _running(self, run: Run, progress: Progress | None) -> Standing:
        """How a run stands that goes on."""
        fields = {**status.of_progress(progress), **run.fields}
        phase = status.COLLECTING if progress and progress.state == "done" else status.RUNNING
        message = _missing(progress) if progress is None or progress.state == "waiting" else progress.stage
        message = "its results are being fetched" if phase == status.COLLECTING else message
        held = held_up((*run.observed.masters, *run.observed.workers))
        if held:
            message = "; ".join(held)
        return self._standing(
            ("True", "Begun", "all its objects were made"),
            message or "is running",
            fields,
            phase=phase,
            degraded=self._degraded(run, progress),
        )

    def _degraded(self, run: Run, progress: Progress | None) -> tuple[str, str, str]:
        """What is wrong with a run that goes on all the same; a pod that was lost is not forgotten."""
        before = self._old_condition("Degraded")
        if before and before["status"] == "True" and before["reason"] == "WorkerLost":
            return "True", "WorkerLost", str(before["message"])
        if progress is None or progress.state != "done":  # at the end they end too
            words = lost(run.observed.workers) or run.observed.failed_workers()
            if words:
                return "True", "WorkerLost", "; ".join(words)
        if run.memory.without_effect or (before and before["reason"] == "PartitionWithoutEffect"):
            message = "members stay connected across the cut: does the network plugin enforce NetworkPolicy?"
            return "True", "PartitionWithoutEffect", message
        if run.troubles:
            return "True", run.troubles[0][0], run.troubles[0][1]
        if progress is not None and progress.problems:
            return "True", "Problems", "; ".join(progress.problems)
        return "False", "AsSpecified", "nothing is wrong"

    def _standing(
        self,
        started: tuple[str, str, str],
        message: str,
        fields: dict[str, Any],
        *,
        phase: str = status.RUNNING,
        degraded: tuple[str, str, str] = ("False", "AsSpecified", "nothing is wrong"),
    ) -> Standing:
        return Standing(
            phase,
            started,
            ("True", phase, message),
            ("False", phase, message),
            degraded=degraded,
            fields=fields,
        )

    # The end.

    async def _keep(self, run: Run, outcome: Outcome, progress: Progress | None) -> None:
        """Keeps the results and says what they are; only then the master may end."""
        try:
            results = await ending.keep(self._tools, self._key, run.benchmark, self._uid, outcome)
        except Conflict as error:
            run.troubles.append(("NameTaken", str(error)))
            await self._write(self._running(run, progress))
            return
        fields = {**status.of_progress(progress), **status.of_outcome(outcome, progress), "results": results}
        thresholds = status.thresholds_met(fields["thresholds"])
        passed = outcome.passed and thresholds[0] == "True"
        missed = thresholds[0] == "False"
        degraded = self._degraded(run, progress)
        if degraded[0] == "True" and degraded[1] in ("WorkerLost", "PartitionWithoutEffect"):
            verdict = degraded[1], degraded[2]  # a figure of a spoilt run is none
        elif passed:
            verdict = "Passed", "it came to its end, and its results are kept"
        elif missed:
            verdict = "ThresholdsMissed", thresholds[2]
        else:
            problems = "; ".join(outcome.problems) or "its load test says that it failed"
            verdict = "RunFailed", problems
        await self._write(
            Standing(
                status.COLLECTING,
                ("True", "Begun", "all its objects were made"),
                ("True", verdict[0], "its results are kept"),
                ("False", *verdict),
                thresholds=thresholds,
                degraded=degraded,
                fields=fields,
            ),
            at_once=True,
        )
        await self._release(run)

    async def _release(self, run: Run) -> None:
        """Ends a run whose results are kept, once its master knows or is gone."""
        released = self._tools.watcher.release(self._key)
        master = run.observed.jobs.get(naming.master(self._key[1]))
        over = master is None or master["status"]["ended"] or not run.observed.master_address()
        verdict = self._old_condition("Complete") or {"reason": "Passed", "message": ""}
        since = run.now - status.at(verdict.get("lastTransitionTime", self._status["startTime"]))
        if released or over or since > load.longest(run.benchmark):
            await self._end(str(verdict["reason"]), str(verdict["message"]))

    async def _end(self, reason: str, message: str) -> None:
        """Says that it is over; what it made is taken back after it."""
        passed = reason == "Passed"
        thresholds = self._old_condition("ThresholdsMet")
        degraded = self._old_condition("Degraded")
        fields: dict[str, Any] = {"completionTime": status.whole(self._now)}
        if passed:
            fields["progress"] = "100 %"
        if not self._status.get("results"):
            fields["summary"] = None  # figures of a run that broke are none
        kept = ("False", "AsSpecified", "nothing is wrong")
        broke = reason not in ("Passed", "ThresholdsMissed")
        if degraded and degraded["status"] == "True":
            kept = "True", str(degraded["reason"]), str(degraded["message"])
        elif broke:
            kept = "True", reason, message
        met = ("Unknown", "NotMeasured", "the run has no result")
        if thresholds and self._status.get("results"):
            met = str(thresholds["status"]), str(thresholds["reason"]), str(thresholds["message"])
        begun = "startTime" in self._status
        await self._write(
            Standing(
                status.SUCCEEDED if passed else status.FAILED,
                ("True", "Begun", "all its objects were made") if begun else ("False", reason, message),
                ("False", "Finished", "it is over"),
                ("True", reason, message),
                thresholds=met,
                degraded=kept,
                fields=fields,
            ),
            at_once=True,
        )
        self._tools.watcher.forget(self._key)
        await self._clean_up()

    async def _clean_up(self) -> None:
        """Takes back what the run made, and deletes the benchmark when its time is over."""
        ended = status.at(self._status["completionTime"])
        if not self._memory.clean:
            cluster = str(self._resource["spec"]["clusterRef"]["name"])
            observed = observe(self._tools.cache, self._key, self._uid)
            graceful = bool(self._status.get("results"))
            grace = ended + ending.EXIT_GRACE - self._now if graceful else 0.0
            left = await ending.take_back(self._tools, self._key, self._uid, cluster, observed, grace=grace)
            gone = {
                field: None for field in ("fault", "newcomers") if field in self._status and not left[field]
            }
            if gone:
                await self._patch({**{k: v for k, v in self._status.items() if k not in gone}})
            self._memory.clean = not any(left.values())
            if self._memory.clean:
                self._tools.release(self._key)
            else:
                self._tools.again(self._key, RUN_RETRY)
        ttl = self._resource["spec"].get("ttlSecondsAfterFinished")
        if ttl is not None:
            left_over = ended + ttl - self._now
            if left_over <= 0:
                await self._kube.delete(BENCHMARK, *self._key, self._uid)
            else:
                self._tools.again(self._key, left_over)

    # The status.

    def _condition(self, kind: str) -> bool:
        found = self._old_condition(kind)
        return bool(found and found["status"] == "True")

    def _old_condition(self, kind: str) -> dict[str, Any] | None:
        return next((c for c in self._status.get("conditions", []) if c["type"] == kind), None)

    async def _write(self, standing: Standing, *, at_once: bool = False) -> None:
        """Writes the status where it differs, and an event for each condition that changed."""
        after = status.make(
            self._status, standing, generation=int(self._resource["metadata"]["generation"]), now=self._now
        )
        if after == self._status:
            return
        news = list(changed(self._status, after))
        kept = ("phase", "fault", "wave")  # what the next step goes by is written at once
        same = not news and all(after.get(name) == self._status.get(name) for name in kept)
        written = self._memory.written
        clock = self._tools.environment.clock()
        if same and not at_once and written is not None and clock - written < STATUS_INTERVAL:
            self._tools.again(self._key, STATUS_INTERVAL - (clock - written))
            return
        before = self._status
        await self._patch(after)
        self._memory.written = clock
        for condition in news:
            await self._event(condition, before)

    async def _patch(self, after: dict[str, Any]) -> None:
        metadata = self._resource["metadata"]
        await self._kube.apply(
            BENCHMARK,
            {
                "apiVersion": BENCHMARK.api_version,
                "kind": BENCHMARK.kind,
                "metadata": {field: metadata[field] for field in ("name", "namespace", "uid")},
                "status": after,
            },
            "status",
        )
        self._status = after
        self._tools.metrics.benchmark(self._key, str(after.get("phase") or status.PENDING))

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
        await self._tools.events.post(
            self._resource, condition["reason"], condition["message"], warning=warning
        )


def _missing(progress: Progress | None) -> str:
    """What a run waits for that has not begun to measure."""
    if progress is None:
        return "the master has not answered yet"
    return f"{progress.workers} of {progress.expected} workers are at work"
