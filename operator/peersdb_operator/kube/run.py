"""The operator's process: kopf watches the clusters and serves the health endpoint, the rest is ours.

kopf's handlers of creation and change are driven by edges and lose work; here each event only names a cluster, and a
level-triggered reconcile does the rest. Nothing of kopf is left on an object, neither annotation nor finalizer.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import Any
from urllib.parse import urlsplit

import kopf
from prometheus_client import start_http_server

from peersdb_operator.definition import GROUP, VERSION
from peersdb_operator.errors import KubeError, UsageError
from peersdb_operator.kube.client import connect, in_pod
from peersdb_operator.kube.kinds import BENCHMARK, CLUSTER
from peersdb_operator.kube.lease import Lease
from peersdb_operator.kube.operator import Operator, Scope
from peersdb_operator.names import OPERATOR_NAMESPACE

log = logging.getLogger("peersdb.operator")

LEASE_NAME = "peersdb-operator"
#: Clusters that wait for so long (seconds) without any reconcile ending mean a stuck process: it is to be restarted.
STUCK_AFTER = 300.0
#: What runs gets so long (seconds) to end: below the pod's grace period.
EXIT_TIMEOUT = 20.0


def run(
    namespaces: tuple[str, ...], *, health: str, metrics: tuple[str, int] | None, elect: bool, verbose: bool
) -> None:
    """Run the operator until it is told to end.

    Args:
        namespaces: to look after; none means all.
        health: URL that the health endpoint listens on.
        metrics: host and port of the metrics, or None.
        elect: whether to stand for election; without it, this must be the only operator.
        verbose: whether to log what it does in detail.

    Raises:
        KubeError: there is no API server to work with, or it does not allow what is needed.
        UsageError: a port cannot be listened on.
    """
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)-7s %(name)s %(message)s",
    )
    for name in ("kopf.objects", "kopf.activities", "aiohttp.access", "kopf._core"):
        logging.getLogger(name).setLevel(logging.WARNING)
    own = os.environ.get("POD_NAMESPACE", OPERATOR_NAMESPACE)
    instance = os.environ.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}"
    operator = Operator(Scope(namespaces, own, instance))
    place = urlsplit(health)
    if place.scheme != "http" or not place.hostname or not place.port:
        raise UsageError(
            f"--health {health} is not http://HOST:PORT/PATH, such as http://0.0.0.0:8080/healthz"
        )
    # kopf would tell of these errors in a hundred lines, or go on.
    _check_free("--health", place.hostname, place.port)
    if metrics is not None:
        _check_free("--metrics", *metrics)
    asyncio.run(_check(operator))
    if metrics is not None:
        start_http_server(metrics[1], metrics[0], operator.metrics.registry)
    registry = kopf.OperatorRegistry()
    process = _Process(operator, own, instance, elect=elect)
    _register(registry, process)
    kopf.run(
        registry=registry,
        standalone=True,
        # kopf would ask who the user is: in a container the user has a number and no name.
        identity=instance,
        clusterwide=not namespaces,
        namespaces=namespaces,
        liveness_endpoint=health,
        stop_flag=process.ended,
    )
    if process.error is not None:
        raise process.error


async def _check(operator: Operator) -> None:
    kube = await connect()
    try:
        await operator.check(kube)
    finally:
        await kube.close()


def _check_free(option: str, host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise UsageError(f"{option}: cannot listen on port {port} of {host}: {error.strerror}") from error


class _Process:
    """The own tasks beside kopf's.

    Attributes:
        ended: set when they end by themselves: the process is to end too.
        error: why they did.
    """

    def __init__(self, operator: Operator, own: str, instance: str, *, elect: bool) -> None:
        self.operator, self._own, self._instance, self._elect = operator, own, instance, elect
        self._task: asyncio.Task[None] | None = None
        self.ended = asyncio.Event()
        self.error: Exception | None = None

    async def start(self) -> None:
        kube = await connect(self.operator.wrote)
        self._task = asyncio.create_task(self._work(kube), name="operator")

    async def _work(self, kube: Any) -> None:
        try:
            if self._elect:
                lease = Lease(kube, self._own, LEASE_NAME, self._instance)
                await lease.lead(lambda: self.operator.lead(kube))
            else:
                await self.operator.lead(kube)
        except Exception as error:  # noqa: BLE001 - raised again where the process ends
            self.error = error
        finally:
            self.ended.set()
            await kube.close()

    async def end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def alive(self) -> str:
        """Raises where the process should be restarted."""
        if self._task is not None and self._task.done():
            raise kopf.PermanentError("the operator's work has ended")
        if self.operator.idle_seconds() > STUCK_AFTER:
            raise kopf.PermanentError("clusters wait and no reconcile ends")
        return "ok"


def _register(registry: kopf.OperatorRegistry, process: _Process) -> None:
    @kopf.on.login(registry=registry)
    async def login(**options: Any) -> kopf.ConnectionInfo | None:
        # The same that `client.connect` takes, read again when the API server no longer accepts it.
        if in_pod():
            return kopf.login_with_service_account(**options)
        return kopf.login_with_kubeconfig(**options)

    @kopf.on.startup(registry=registry)
    async def startup(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.scanning.disabled = True
        settings.posting.enabled = False
        settings.peering.standalone = True
        settings.networking.request_timeout = 30
        settings.networking.connect_timeout = 5
        settings.process.ultimate_exiting_timeout = EXIT_TIMEOUT
        try:
            await process.start()
        except KubeError as error:
            raise kopf.PermanentError(str(error)) from error

    @kopf.on.cleanup(registry=registry)
    async def cleanup(**_: Any) -> None:
        await process.end()

    @kopf.on.event(GROUP, VERSION, CLUSTER.plural, registry=registry)
    async def changed(namespace: str, name: str, **_: Any) -> None:
        process.operator.queue.add((namespace, name))

    if process.operator.benchmarks_served:

        @kopf.on.event(GROUP, VERSION, BENCHMARK.plural, registry=registry)
        async def benchmark_changed(namespace: str, name: str, **_: Any) -> None:
            process.operator.benchmarks.add((namespace, name))

    @kopf.on.probe(id="work", errors=kopf.ErrorsMode.PERMANENT, registry=registry)
    async def probe(**_: Any) -> str:
        return process.alive()
