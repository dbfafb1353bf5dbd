"""A run that has begun: its objects made, its master heard, its faults and newcomers made, until it ends or breaks."""

from __future__ import annotations

from typing import Any

from peersdb_operator import load
from peersdb_operator.benchmark import Benchmark
from peersdb_operator.errors import NotFound
from peersdb_operator.kube import secrets
from peersdb_operator.kube.benchmark import beginning, faults, joining, naming, pods, standings, status
from peersdb_operator.kube.benchmark.finishing import Finish
from peersdb_operator.kube.benchmark.observed import held_up, lost, observe
from peersdb_operator.kube.benchmark.status import Standing
from peersdb_operator.kube.benchmark.subject import Subject
from peersdb_operator.kube.benchmark.tools import Run
from peersdb_operator.kube.benchmark.watcher import Master
from peersdb_operator.kube.kinds import JOB, SECRET
from peersdb_operator.load import Progress

#: Seconds until it is looked at again.
RETRY = 2.0


class Running:
    """Brings one run nearer to its end."""

    def __init__(self, subject: Subject, finish: Finish) -> None:
        """Works on ``subject``; ``finish`` ends it."""
        self._subject, self._finish = subject, finish
        self._tools, self._key = subject.tools, subject.key

    async def step(self, benchmark: Benchmark) -> None:
        """Look at it, and do what is due."""
        self._subject.again(RETRY)
        found = await beginning.cluster_of(self._tools, self._key[0], benchmark.cluster)
        if isinstance(found, Standing):
            await self._finish.end("ClusterGone", found.started[2])
            return
        cluster, conditions = found
        if not self._subject.holds("Started"):
            taken = await beginning.make(self._tools, self._key, cluster, benchmark, self._subject.uid)
            if taken:
                await self._finish.end("NameTaken", taken)
                return
            await self._subject.write(standings.going_on(standings.BEGUN, "waits for its pods", {}))
        observed = observe(self._tools.cache, self._key, self._subject.uid)
        await self._listen(benchmark, observed.master_address())
        run = Run(
            self._key,
            self._subject.uid,
            benchmark,
            cluster,
            self._subject.status,
            observed,
            self._subject.memory,
            self._subject.now,
        )
        progress = self._tools.watcher.progress(self._key)
        if self._subject.status.get("results"):
            await self._finish.release(run)
            return
        outcome = None
        if progress is not None and progress.state == "done":
            outcome = self._tools.watcher.collect(self._key)
        if outcome is not None:
            await self._finish.keep(run, outcome, progress)
            return
        broken = await self._broken(run, progress)
        if broken:
            await self._finish.end(*broken)
            return
        await self._act(run, progress, conditions)
        await self._subject.write(standings.running(run, progress, self._subject.condition("Degraded")))

    async def _listen(self, benchmark: Benchmark, address: str) -> None:
        """Has the master listened to, with the token of its Secret."""
        known = self._tools.watcher.master(self._key)
        if known is not None:
            if address and known.address != address:
                self._tools.watcher.watch(self._key, Master(address, known.token, known.claim))
            return
        try:
            secret = await self._tools.kube.get(SECRET, self._key[0], naming.control(self._key[1]))
        except NotFound:
            return
        token = secrets.text_of(secret, pods.TOKEN_FILE)
        self._tools.watcher.watch(self._key, Master(address, token, benchmark.results_claim is not None))

    async def _broken(self, run: Run, progress: Progress | None) -> tuple[str, str] | None:
        """Say why a run cannot come to its end any more."""
        observed, since = run.observed, run.now - status.at(self._subject.status["startTime"])
        job = observed.jobs.get(naming.master(self._key[1]))
        if job is None:
            try:
                await self._tools.kube.get(JOB, self._key[0], naming.master(self._key[1]))
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
            why = "; ".join(held_up((*observed.masters, *observed.workers))) or standings.missing(progress)
            return "PodsNotStarted", f"not all load pods are at work after {pods.START_TIMEOUT:.0f} s: {why}"
        return None

    async def _act(self, run: Run, progress: Progress | None, conditions: dict[str, Any]) -> None:
        """Makes the faults and the newcomers that the run wants."""

        async def write() -> None:
            await self._subject.write(
                standings.running(run, progress, self._subject.condition("Degraded")), at_once=True
            )

        if run.benchmark.profile == load.BOOTSTRAP:
            await joining.step(self._tools, run, wanted=progress.wave if progress else 0, write=write)
        elif run.benchmark.profile in (load.CHURN, load.PARTITION):
            calm = conditions.get("Ready", {}).get("status") == "True"
            wanted = None if progress is None else progress.state == "running" and progress.fault
            await faults.step(self._tools, run, wanted=wanted, calm=calm, write=write)
