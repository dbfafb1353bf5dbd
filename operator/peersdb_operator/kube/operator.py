"""The parts of one operator put together: caches, queue, workers, poller, and the work of a leader."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from peersdb_operator.errors import KubeError, NotFound, Refused
from peersdb_operator.kube.benchmark import observed as benchmark_observed
from peersdb_operator.kube.benchmark import pods as load_pods
from peersdb_operator.kube.benchmark.reconcile import BenchmarkReconciler
from peersdb_operator.kube.benchmark.tools import Tools as BenchmarkTools
from peersdb_operator.kube.benchmark.watcher import Watcher
from peersdb_operator.kube.cache import Cache, Key
from peersdb_operator.kube.client import Kube
from peersdb_operator.kube.cuts import Cuts
from peersdb_operator.kube.events import Events
from peersdb_operator.kube.informer import Informer
from peersdb_operator.kube.kinds import BENCHMARK, CLUSTER, NODE, OWNED, POD, Kind, Object
from peersdb_operator.kube.metrics import Metrics
from peersdb_operator.kube.poller import Poller
from peersdb_operator.kube.reconcile import Reconciler
from peersdb_operator.kube.tools import Environment, Tools
from peersdb_operator.kube.workqueue import WorkQueue
from peersdb_operator.names import BENCHMARK_LABEL, MANAGED_BY, MANAGED_BY_LABEL

log = logging.getLogger("peersdb.operator")

#: Reconciles at once: most of one is waiting for the API server.
WORKERS = 8
#: Of benchmarks: few run at a time.
BENCHMARK_WORKERS = 2
#: Every cluster is looked at after so many seconds, whatever the watches told.
RESYNC = 600.0
#: One reconcile gets so long (seconds); a stuck request must not hold a worker for ever.
RECONCILE_TIMEOUT = 60.0
#: A change of nodes touches all clusters: the changes of so many seconds are looked at together.
NODES_SETTLE = 1.0

#: A cluster is made of what has our label and is no benchmark's.
CLUSTER_OBJECTS = f"{MANAGED_BY_LABEL}={MANAGED_BY},!{BENCHMARK_LABEL}"
BENCHMARK_OBJECTS = f"{MANAGED_BY_LABEL}={MANAGED_BY},{BENCHMARK_LABEL}"


@dataclass(frozen=True, slots=True)
class Scope:
    """What the operator looks after.

    Attributes:
        namespaces: these; none means all.
        own: the namespace it runs in itself.
        instance: what it is called in events.
    """

    namespaces: tuple[str, ...]
    own: str
    instance: str


class Works(Protocol):
    """Whatever reconciles keys."""

    async def reconcile(self, key: Key) -> None:
        """Bring one thing nearer to what its manifest says."""


class Operator:
    """One operator process's work.

    Attributes:
        queue: the clusters that wait for a reconcile.
        benchmarks: the benchmarks that do.
        benchmarks_served: whether the API server has benchmarks: an older install has none.
        metrics: what is counted.
        leading: whether it does a leader's work.
    """

    def __init__(
        self,
        scope: Scope,
        clock: Callable[[], float] = time.monotonic,
        control_port: int = load_pods.CONTROL_PORT,
    ) -> None:
        """Looks after the clusters of ``scope``; ``control_port`` is where masters listen."""
        self._scope, self._clock, self._control_port = scope, clock, control_port
        self.queue: WorkQueue[Key] = WorkQueue()
        self.benchmarks: WorkQueue[Key] = WorkQueue()
        self.benchmarks_served = True
        self.metrics = Metrics(lambda: len(self.queue))
        self.leading = False
        self._progress = clock()

    def wrote(self, kind: str, verb: str) -> None:
        """Counts a write to the API server."""
        self.metrics.writes.labels(kind, verb).inc()

    def idle_seconds(self) -> float:
        """Tells for how long a leader's clusters have waited without a reconcile beginning or ending."""
        return self._clock() - self._progress if self.leading and len(self.queue) else 0.0

    async def check(self, kube: Kube) -> None:
        """Refuses to run where the resource is not defined: its watch would be silent for ever.

        Raises:
            KubeError: it is not, or may not be read.
        """
        if not await self._served(kube, CLUSTER):
            raise KubeError("the API server does not know PeersDBCluster: apply crds/ first")
        try:
            self.benchmarks_served = await self._served(kube, BENCHMARK)
        except Refused:
            self.benchmarks_served = False
        if not self.benchmarks_served:
            log.warning("benchmarks are off: apply the newer crds/ and role of this version, and restart")

    async def _served(self, kube: Kube, kind: Kind) -> bool:
        namespace = self._scope.namespaces[0] if self._scope.namespaces else None
        try:
            async for _ in kube.pages(kind, namespace):
                break
        except NotFound:
            return False
        return True

    async def lead(self, kube: Kube) -> None:
        """Does a leader's work until it is cancelled.

        Raises:
            KubeError: the operator may not read what it needs.
        """
        self.leading, self._progress = True, self._clock()
        self.metrics.leader.set(1)
        try:
            async with asyncio.TaskGroup() as group:
                await self._work(kube, group)
        except BaseExceptionGroup as errors:
            raise _first(errors) from errors
        finally:
            self.leading = False
            self.metrics.leader.set(0)
            self.metrics.forget_all()

    async def _work(self, kube: Kube, group: asyncio.TaskGroup) -> None:
        cache = Cache((*OWNED, POD, NODE))
        poller = Poller(cache, self.queue.add, self.metrics.poll_seconds.observe)
        informers = self._informers(kube, cache)
        nodes = Informer(kube, cache, NODE)
        cuts = Cuts(self.queue.add, time.monotonic)
        environment = Environment(time.time, time.monotonic, os.urandom, self._scope.own)
        tools = Tools(
            kube=kube,
            cache=cache,
            poller=poller,
            events=Events(kube, self._scope.instance),
            metrics=self.metrics,
            environment=environment,
            nodes_visible=lambda: not nodes.refused,
            again=self.queue.add_after,
            cut=cuts.of,
        )
        for informer in (*informers, nodes):
            group.create_task(informer.run())
        for informer in (*informers, nodes):
            await informer.synced.wait()
        refused = [informer.refused for informer in informers if informer.refused]
        if refused:
            raise Refused(f"the operator's role does not allow what it needs: {refused[0]}")
        nodes_changed = asyncio.Event()

        def changed(key: Key) -> None:
            # Nodes are nobody's: their key has no namespace.
            if key[0]:
                self.queue.add(key)
            else:
                nodes_changed.set()

        cache.on_change = changed
        if self.benchmarks_served:
            await self._work_on_benchmarks(group, tools, cuts)
        reconciler = Reconciler(tools)
        group.create_task(poller.run())
        group.create_task(self._resync(kube, nodes_changed))
        for _ in range(WORKERS):
            group.create_task(self._worker(reconciler))

    async def _work_on_benchmarks(self, group: asyncio.TaskGroup, clusters: Tools, cuts: Cuts) -> None:
        """Begins the work on benchmarks; what is cut off by one that runs is known before any cluster is worked on."""
        kube, cache = clusters.kube, Cache(
            benchmark_observed.KINDS, benchmark_observed.benchmark_of, benchmark_observed.reduced
        )  # fmt: skip
        watcher = Watcher(self.benchmarks.add, port=self._control_port)
        tools = BenchmarkTools(
            kube=kube,
            cache=cache,
            members=clusters.cache,
            watcher=watcher,
            cuts=cuts,
            events=clusters.events,
            metrics=self.metrics,
            environment=clusters.environment,
            again=self.benchmarks.add_after,
        )
        informers = self._informers(kube, cache, benchmark_observed.KINDS, BENCHMARK_OBJECTS)
        for informer in informers:
            group.create_task(informer.run())
        for informer in informers:
            await informer.synced.wait()
        cache.on_change = self.benchmarks.add
        await self._known_cuts(kube, cuts)
        group.create_task(watcher.run())
        group.create_task(self._resync_benchmarks(kube))
        reconciler = BenchmarkReconciler(tools)
        for _ in range(BENCHMARK_WORKERS):
            group.create_task(self._worker(reconciler, self.benchmarks))

    async def _known_cuts(self, kube: Kube, cuts: Cuts) -> None:
        """Takes over the cuts of benchmarks that run: an operator that starts must not heal what is to be broken."""
        async for item in self._every_benchmark(kube):
            status, metadata = item.get("status") or {}, item["metadata"]
            fault = status.get("fault") or {}
            if fault.get("kind") == "cut" and "completionTime" not in status:
                place = metadata["namespace"], item["spec"]["clusterRef"]["name"]
                cuts.cut(place, fault["region"], (metadata["namespace"], metadata["name"]))

    async def _every_benchmark(self, kube: Kube) -> AsyncIterator[Object]:
        for namespace in self._scope.namespaces or (None,):
            async for items, _ in kube.pages(BENCHMARK, namespace):
                for item in items:
                    yield item

    async def _resync_benchmarks(self, kube: Kube) -> None:
        while True:
            try:
                async for item in self._every_benchmark(kube):
                    self.benchmarks.add((item["metadata"]["namespace"], item["metadata"]["name"]))
            except KubeError as error:
                log.warning("resync of benchmarks: %s", error)
                await asyncio.sleep(max(1.0, error.retry_after))
                continue
            await asyncio.sleep(RESYNC)

    def _informers(
        self,
        kube: Kube,
        cache: Cache,
        kinds: tuple[Kind, ...] = (*OWNED, POD),
        selector: str = CLUSTER_OBJECTS,
    ) -> list[Informer]:
        return [
            Informer(kube, cache, kind, namespace=namespace, selector=selector)
            for kind in kinds
            for namespace in self._scope.namespaces or (None,)
        ]

    async def _resync(self, kube: Kube, nodes_changed: asyncio.Event) -> None:
        """Looks at every cluster from time to time, and when a Kubernetes node changed."""
        while True:
            nodes_changed.clear()
            try:
                for namespace in self._scope.namespaces or (None,):
                    async for items, _ in kube.pages(CLUSTER, namespace):
                        for item in items:
                            self.queue.add((item["metadata"]["namespace"], item["metadata"]["name"]))
            except KubeError as error:
                log.warning("resync: %s", error)
                await asyncio.sleep(max(1.0, error.retry_after))
                continue
            try:
                async with asyncio.timeout(RESYNC):
                    await nodes_changed.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(NODES_SETTLE)

    async def _worker(self, reconciler: Works, queue: WorkQueue[Key] | None = None) -> None:
        queue = self.queue if queue is None else queue
        while True:
            key = await queue.get()
            began = self._progress = self._clock()
            try:
                async with asyncio.timeout(RECONCILE_TIMEOUT):
                    await reconciler.reconcile(key)
            except (KubeError, TimeoutError) as error:
                self._failed(queue, key, error, getattr(error, "retry_after", 0.0))
            except Exception as error:  # a bug of one cluster's must not stop the others
                log.exception("reconcile of %s/%s failed", *key)
                self._failed(queue, key, error, 0.0)
            except asyncio.CancelledError:
                queue.done(key)  # this operator may lead again, and then work on it again
                raise
            else:
                queue.done(key)
                self.metrics.reconciles.labels("ok").inc()
            finally:
                self._progress = self._clock()
                self.metrics.reconcile_seconds.observe(self._progress - began)

    def _failed(self, queue: WorkQueue[Key], key: Key, error: Exception, retry_after: float) -> None:
        delay = queue.failed(key, retry_after)
        self.metrics.reconciles.labels("error").inc()
        log.warning(
            "reconcile of %s/%s: %s; again in %.0f s", *key, str(error) or type(error).__name__, delay
        )


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Give the first error of a group of groups: of several tasks that fail, the others were ended by it."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
