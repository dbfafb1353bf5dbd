"""One idempotent reconcile of one benchmark: wait, begin, go on, end, clean up.

What must outlive this process stands in the status: when it began and ended, what is broken, which wave was raised,
where the results are. Everything else is seen anew.
"""

from __future__ import annotations

from peersdb_operator import benchmark as manifests
from peersdb_operator.errors import ManifestError
from peersdb_operator.kube.benchmark import status
from peersdb_operator.kube.benchmark.finishing import Finish
from peersdb_operator.kube.benchmark.running import Running
from peersdb_operator.kube.benchmark.subject import Subject
from peersdb_operator.kube.benchmark.tools import Tools
from peersdb_operator.kube.benchmark.waiting import Waiting
from peersdb_operator.kube.cache import Key
from peersdb_operator.kube.kinds import BENCHMARK
from peersdb_operator.kube.resource import living


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
        resource = await living(self._tools.kube, BENCHMARK, key)
        if resource is None:
            self._tools.forget(key)
            return
        await self._step(Subject(self._tools, key, resource))

    async def _step(self, subject: Subject) -> None:
        self._tools.metrics.benchmark(subject.key, str(subject.status.get("phase") or status.PENDING))
        finish = Finish(subject)
        waiting = Waiting(subject, finish)
        if "completionTime" in subject.status:
            await finish.clean_up()
            return
        try:
            benchmark = manifests.from_object(subject.resource)
        except ManifestError as error:
            await waiting.refuse("InvalidSpec", "; ".join(str(fault) for fault in error.faults[:3]))
            return
        if "startTime" in subject.status:
            self._tools.claims[subject.key[0], benchmark.cluster] = subject.key
        elif not await waiting.begins(benchmark):
            return
        await Running(subject, finish).step(benchmark)
