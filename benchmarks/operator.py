"""The operator against a real API server: what it costs at rest, and with many clusters."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import psutil

from benchmarks.cluster import free_port
from benchmarks.result import Result

if TYPE_CHECKING:
    from cluster.api_server import ApiServer

ROOT = Path(__file__).parents[1]
HARNESS = ROOT / "tests" / "e2e"
MB = 1_000_000
REGIONS, TOUCHES, MANY = 10, 40, 500
#: Nothing here takes longer on a machine that does something else besides.
PATIENCE = 900.0


async def operator(session: aiohttp.ClientSession, directory: Path, _entries: int) -> list[Result]:
    """The operator with one cluster of ten regions: memory, and a reconcile at rest."""
    del session
    return await asyncio.to_thread(_with_server, directory, _one)


async def operator_many(session: aiohttp.ClientSession, directory: Path, _entries: int) -> list[Result]:
    """The operator with 500 clusters, their StatefulSets' pods among them: memory, and a full resync."""
    del session
    return await asyncio.to_thread(_with_server, directory, _many)


def _with_server(directory: Path, measure: Callable[[ApiServer, Path], list[Result]]) -> list[Result]:
    sys.path.insert(0, str(HARNESS))
    from cluster.api_server import ApiServer  # noqa: PLC0415 - the test cluster is no part of any package
    from cluster.errors import NotBuilt  # noqa: PLC0415

    try:
        server = ApiServer(directory / "api", controllers=True)
    except NotBuilt as error:
        print(f"  skipped: {error}")
        return []
    with server:
        server.kubectl("apply", "--server-side", "-f", str(ROOT / "crds" / "peersdbclusters.yaml"))
        server.kubectl("wait", "--for=condition=Established", "crd/peersdbclusters.peersdb.io")
        return measure(server, directory)


def _one(server: ApiServer, directory: Path) -> list[Result]:
    regions = [f"region-{number}" for number in range(REGIONS)]
    server.kubectl.apply(_manifest("one", regions, 2), namespace="default")
    with _Operator(server, directory) as process:
        process.wait(lambda: _sets(server) == REGIONS + 1, "its StatefulSets are made")
        process.quiet()
        count, seconds, wrote = process.reconciles(), process.seconds(), process.writes()
        for number in range(TOUCHES):
            before = process.reconciles()
            server.kubectl("annotate", "--overwrite", "peersdbcluster/one", f"touched={number}")
            process.wait(lambda before=before: process.reconciles() > before, "it looked")  # type: ignore[misc]
        each = (process.seconds() - seconds) / (process.reconciles() - count)
        wrote = process.writes() - wrote
        memory = process.memory()
    return [
        Result(
            f"operator, 1 cluster of {REGIONS} regions: reconcile at rest", each * 1e3, "ms", 50, "lower", ""
        ),
        Result(f"operator, writes in {TOUCHES} of them", wrote, "", 0, "lower", ""),
        Result(
            "operator's memory with 1 cluster",
            memory / MB,
            "MB",
            110,
            "lower",
            "98 MB (kopf and the typed API alone)",
        ),
    ]


def _many(server: ApiServer, directory: Path) -> list[Result]:
    server.kubectl.apply(*(_manifest(f"c{number}", ["eu"], 1) for number in range(MANY)), namespace="default")
    with _Operator(server, directory) as process:
        began = time.perf_counter()
        process.wait(lambda: _sets(server) == 2 * MANY, "all StatefulSets are made", pause=2.0)
        made = time.perf_counter() - began
        process.quiet()
        first = process.memory()
    with _Operator(server, directory) as process:  # which knows nothing, and finds all as it should be
        process.wait(process.leads, "it works")
        began = time.perf_counter()
        process.wait(lambda: process.reconciles() >= MANY and not process.waiting(), "it looked at all")
        resync = time.perf_counter() - began
        wrote, memory = process.writes(), process.memory()
    return [
        Result(f"operator, {MANY} clusters made", made, "s", None, "lower", ""),
        Result(f"operator, {MANY} clusters: full resync of a new process", resync, "s", 30, "lower", ""),
        Result("operator, writes in it", wrote, "", 0, "lower", ""),
        Result(f"operator's memory with {MANY} clusters", max(first, memory) / MB, "MB", 200, "lower", ""),
    ]


def _sets(server: ApiServer) -> int:
    return len(server.kubectl("get", "statefulsets", "-A", "-o", "name").split())


def _manifest(name: str, regions: list[str], replicas: int) -> dict[str, Any]:
    return {
        "apiVersion": "peersdb.io/v1alpha1",
        "kind": "PeersDBCluster",
        "metadata": {"name": name},
        "spec": {
            "image": {"repository": "peersdb/node", "tag": "1"},
            "root": {"region": regions[0]},
            "regions": [{"name": region, "replicas": replicas} for region in regions],
            "storage": {"ephemeral": True},
        },
    }


class _Operator:
    """`peersdb-operator run`, and its metrics."""

    def __init__(self, server: ApiServer, directory: Path) -> None:
        self._log = directory / "operator.log"
        self._health, self._metrics = free_port(), free_port()
        self._environment = {**os.environ, "KUBECONFIG": str(server.kubeconfig)}

    def __enter__(self) -> Self:
        argv = [sys.executable, "-m", "peersdb_operator", "run", "--no-election"]
        argv += ["--health", f"http://127.0.0.1:{self._health}/healthz"]
        argv += ["--metrics", f"127.0.0.1:{self._metrics}"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, env=self._environment)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()

    def wait(self, holds: Callable[[], bool], what: str, pause: float = 0.05) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the operator: {what}: not so; {self._log.read_text()[-2000:]}")
            time.sleep(pause)

    def quiet(self) -> None:
        """Wait until nothing is reconciled or written for some seconds."""
        while True:
            before = (self.reconciles(), self.writes())
            time.sleep(5)
            if before == (self.reconciles(), self.writes()) and not self.waiting():
                return

    def memory(self) -> int:
        return int(psutil.Process(self._process.pid).memory_info().rss)

    def leads(self) -> bool:
        return self._sum("peersdb_operator_leader") == 1

    def reconciles(self) -> float:
        return self._sum("peersdb_operator_reconcile_seconds_count")

    def seconds(self) -> float:
        return self._sum("peersdb_operator_reconcile_seconds_sum")

    def writes(self) -> float:
        return self._sum("peersdb_operator_api_writes_total")

    def waiting(self) -> float:
        return self._sum("peersdb_operator_queue_length")

    def _sum(self, name: str) -> float:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics}/metrics", timeout=10) as answer:
                text = answer.read().decode()
        except OSError:
            return 0.0  # it is starting
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))
