"""The parts of one operator put together: caches, queue, workers, poller, and the work of a leader."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from peersdb_operator.errors import KubeError, NotFound, Refused
from peersdb_operator.kube.cache import Cache, Key
from peersdb_operator.kube.client import Kube
from peersdb_operator.kube.events import Events
from peersdb_operator.kube.informer import Informer
from peersdb_operator.kube.kinds import CLUSTER, NODE, OWNED, POD
from peersdb_operator.kube.metrics import Metrics
from peersdb_operator.kube.poller import Poller
from peersdb_operator.kube.reconcile import Environment, Reconciler, Tools
from peersdb_operator.kube.workqueue import WorkQueue
from peersdb_operator.names import MANAGED_BY, MANAGED_BY_LABEL

log = logging.getLogger("peersdb.operator")

#: Reconciles at once: most of one is waiting for the API server.
WORKERS = 8
#: Every cluster is looked at after so many seconds, whatever the watches told.
RESYNC = 600.0
#: One reconcile gets so long (seconds); a stuck request must not hold a worker for ever.
RECONCILE_TIMEOUT = 60.0
#: A change of nodes touches all clusters: the changes of so many seconds are looked at together.
NODES_SETTLE = 1.0


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


class Operator:
    """One operator process's work.

    Attributes:
        queue: the clusters that wait for a reconcile.
        metrics: what is counted.
        leading: whether it does a leader's work.
    """

    def __init__(self, scope: Scope, clock: Callable[[], float] = time.monotonic) -> None:
        """Looks after the clusters of ``scope``."""
        self._scope, self._clock = scope, clock
        self.queue: WorkQueue[Key] = WorkQueue()
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
        namespace = self._scope.namespaces[0] if self._scope.namespaces else None
        try:
            async for _ in kube.pages(CLUSTER, namespace):
                return
        except NotFound as error:
            raise KubeError("the API server does not know PeersDBCluster: apply crds/ first") from error

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
        tools = Tools(
            kube=kube,
            cache=cache,
            poller=poller,
            events=Events(kube, self._scope.instance),
            metrics=self.metrics,
            environment=Environment(time.time, time.monotonic, os.urandom, self._scope.own),
            nodes_visible=lambda: not nodes.refused,
            again=self.queue.add_after,
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
        reconciler = Reconciler(tools)
        group.create_task(poller.run())
        group.create_task(self._resync(kube, nodes_changed))
        for _ in range(WORKERS):
            group.create_task(self._worker(reconciler))

    def _informers(self, kube: Kube, cache: Cache) -> list[Informer]:
        selector = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
        return [
            Informer(kube, cache, kind, namespace=namespace, selector=selector)
            for kind in (*OWNED, POD)
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

    async def _worker(self, reconciler: Reconciler) -> None:
        while True:
            key = await self.queue.get()
            began = self._progress = self._clock()
            try:
                async with asyncio.timeout(RECONCILE_TIMEOUT):
                    await reconciler.reconcile(key)
            except (KubeError, TimeoutError) as error:
                self._failed(key, error, getattr(error, "retry_after", 0.0))
            except Exception as error:  # a bug of one cluster's must not stop the others
                log.exception("reconcile of %s/%s failed", *key)
                self._failed(key, error, 0.0)
            except asyncio.CancelledError:
                self.queue.done(key)  # this operator may lead again, and then work on it again
                raise
            else:
                self.queue.done(key)
                self.metrics.reconciles.labels("ok").inc()
            finally:
                self._progress = self._clock()
                self.metrics.reconcile_seconds.observe(self._progress - began)

    def _failed(self, key: Key, error: Exception, retry_after: float) -> None:
        delay = self.queue.failed(key, retry_after)
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
