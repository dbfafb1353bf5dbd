"""The end of a run, step by step: results kept, master released, all taken back, deleted when its time is over."""

from __future__ import annotations

from typing import Any

from peersdb_operator import load
from peersdb_operator.errors import Conflict
from peersdb_operator.kube.benchmark import ending, naming, standings, status
from peersdb_operator.kube.benchmark.observed import observe
from peersdb_operator.kube.benchmark.results import Outcome
from peersdb_operator.kube.benchmark.status import Standing
from peersdb_operator.kube.benchmark.subject import Subject
from peersdb_operator.kube.benchmark.tools import Run
from peersdb_operator.kube.kinds import BENCHMARK
from peersdb_operator.load import Progress

#: Seconds until one that gives back what it had is looked at again.
RETRY = 2.0


class Finish:
    """Ends one benchmark."""

    def __init__(self, subject: Subject) -> None:
        """Works on ``subject``."""
        self._subject = subject
        self._tools, self._key = subject.tools, subject.key

    async def keep(self, run: Run, outcome: Outcome, progress: Progress | None) -> None:
        """Keep the results and say what they are; only then the master may end."""
        try:
            results = await ending.keep(self._tools, self._key, run.benchmark, self._subject.uid, outcome)
        except Conflict as error:
            run.troubles.append(("NameTaken", str(error)))
            await self._subject.write(standings.running(run, progress, self._subject.condition("Degraded")))
            return
        fields = {**status.of_progress(progress), **status.of_outcome(outcome, progress), "results": results}
        thresholds = status.thresholds_met(fields["thresholds"])
        passed = outcome.passed and thresholds[0] == "True"
        missed = thresholds[0] == "False"
        degraded = standings.degraded(run, progress, self._subject.condition("Degraded"))
        if degraded[0] == "True" and degraded[1] in ("WorkerLost", "PartitionWithoutEffect"):
            verdict = degraded[1], degraded[2]  # a figure of a spoilt run is none
        elif passed:
            verdict = "Passed", "it came to its end, and its results are kept"
        elif missed:
            verdict = "ThresholdsMissed", thresholds[2]
        else:
            problems = "; ".join(outcome.problems) or "its load test says that it failed"
            verdict = "RunFailed", problems
        await self._subject.write(
            Standing(
                status.COLLECTING,
                standings.BEGUN,
                ("True", verdict[0], "its results are kept"),
                ("False", *verdict),
                thresholds=thresholds,
                degraded=degraded,
                fields=fields,
            ),
            at_once=True,
        )
        await self.release(run)

    async def release(self, run: Run) -> None:
        """End a run whose results are kept, once its master knows or is gone."""
        released = self._tools.watcher.release(self._key)
        master = run.observed.jobs.get(naming.master(self._key[1]))
        over = master is None or master["status"]["ended"] or not run.observed.master_address()
        verdict = self._subject.condition("Complete") or {"reason": "Passed", "message": ""}
        since = run.now - status.at(verdict.get("lastTransitionTime", self._subject.status["startTime"]))
        if released or over or since > load.longest(run.benchmark):
            await self.end(str(verdict["reason"]), str(verdict["message"]))

    async def end(self, reason: str, message: str) -> None:
        """Say that it is over; what it made is taken back after it."""
        passed = reason == "Passed"
        thresholds = self._subject.condition("ThresholdsMet")
        degraded = self._subject.condition("Degraded")
        fields: dict[str, Any] = {"completionTime": status.whole(self._subject.now)}
        if passed:
            fields["progress"] = "100 %"
        if not self._subject.status.get("results"):
            fields["summary"] = None  # figures of a run that broke are none
        kept = standings.SOUND
        broke = reason not in ("Passed", "ThresholdsMissed")
        if degraded and degraded["status"] == "True":
            kept = "True", str(degraded["reason"]), str(degraded["message"])
        elif broke:
            kept = "True", reason, message
        met = ("Unknown", "NotMeasured", "the run has no result")
        if thresholds and self._subject.status.get("results"):
            met = str(thresholds["status"]), str(thresholds["reason"]), str(thresholds["message"])
        begun = "startTime" in self._subject.status
        await self._subject.write(
            Standing(
                status.SUCCEEDED if passed else status.FAILED,
                standings.BEGUN if begun else ("False", reason, message),
                ("False", "Finished", "it is over"),
                ("True", reason, message),
                thresholds=met,
                degraded=kept,
                fields=fields,
            ),
            at_once=True,
        )
        self._tools.watcher.forget(self._key)
        await self.clean_up()

    async def clean_up(self) -> None:
        """Take back what the run made, and delete the benchmark when its time is over."""
        ended = status.at(self._subject.status["completionTime"])
        if not self._subject.memory.clean:
            cluster = str(self._subject.resource["spec"]["clusterRef"]["name"])
            observed = observe(self._tools.cache, self._key, self._subject.uid)
            graceful = bool(self._subject.status.get("results"))
            grace = ended + ending.EXIT_GRACE - self._subject.now if graceful else 0.0
            left = await ending.take_back(
                self._tools, self._key, self._subject.uid, cluster, observed, grace=grace
            )
            gone = {
                field: None
                for field in ("fault", "newcomers")
                if field in self._subject.status and not left[field]
            }
            if gone:
                await self._subject.patch(
                    {**{k: v for k, v in self._subject.status.items() if k not in gone}}
                )
            self._subject.memory.clean = not any(left.values())
            if self._subject.memory.clean:
                self._tools.release(self._key)
            else:
                self._subject.again(RETRY)
        ttl = self._subject.resource["spec"].get("ttlSecondsAfterFinished")
        if ttl is not None:
            left_over = ended + ttl - self._subject.now
            if left_over <= 0:
                await self._tools.kube.delete(BENCHMARK, *self._key, self._subject.uid)
            else:
                self._subject.again(left_over)
