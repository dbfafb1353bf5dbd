"""Benchmarks of an API server, seen from a terminal."""

from __future__ import annotations

import asyncio
import base64
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kubernetes.aio import config

from peersdb_operator.bench_cli import standing
from peersdb_operator.bench_cli.standing import Standing
from peersdb_operator.benchmark import Benchmark
from peersdb_operator.errors import BenchmarkError, Conflict, NotFound, Unavailable, UsageError
from peersdb_operator.kube.client import Kube, connect, in_pod
from peersdb_operator.kube.kinds import BENCHMARK, CONFIG_MAP, Object

POLL_SECONDS = 1.0
"""Between two looks at a status, which the operator writes every few seconds."""
PATIENCE_SECONDS = 120.0
"""An API server that does not answer is asked again for so long."""
MOST_UNPACKED = 256 << 20
"""Bytes of one result, unpacked: a ConfigMap holds 1 MiB, which packs samples about ten times."""
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@asynccontextmanager
async def api() -> AsyncIterator[Kube]:
    """Connect while the block runs."""
    kube = await connect()
    try:
        yield kube
    finally:
        await kube.close()


def default_namespace() -> str:
    """Give the namespace of the kubeconfig's context, or of the pod."""
    if in_pod():
        return _POD_NAMESPACE.read_text(encoding="ascii").strip() if _POD_NAMESPACE.exists() else "default"
    try:
        _, active = config.list_kube_config_contexts()
    except (config.ConfigException, OSError):
        return "default"  # the connection itself says what is wrong
    return str((active or {}).get("context", {}).get("namespace") or "default")


async def start(kube: Kube, benchmark: Benchmark, namespace: str) -> None:
    """Hand a manifest to the API server.

    Raises:
        UsageError: there is one of that name that has started, and is another or has ended.
        KubeError: the API server does not take it.
    """
    metadata = {**benchmark.written["metadata"], "namespace": namespace}
    body = {**benchmark.written, "metadata": metadata}
    try:
        await kube.create(BENCHMARK, body)
    except Conflict:
        found = await kube.get(BENCHMARK, namespace, benchmark.name)
    else:
        return
    status = found.get("status", {})
    if "startTime" not in status:
        metadata["resourceVersion"] = found["metadata"]["resourceVersion"]
        await kube.replace(BENCHMARK, body)
        return
    if "completionTime" in status or found["spec"] != benchmark.manifest["spec"]:
        how = "has ended" if "completionTime" in status else "runs with another spec"
        raise UsageError(
            f"a benchmark {benchmark.name!r} {how}: give this one another name, or delete that one first"
            f" (kubectl delete pdbb {benchmark.name} -n {namespace})"
        )


async def watch(
    kube: Kube, namespace: str, name: str, show: Callable[[Standing], None], *, poll: float = POLL_SECONDS
) -> Object:
    """Follow a benchmark to its end, and give it.

    Raises:
        NotFound: there is none, or it was deleted.
        KubeError: the API server does not answer for long.
    """
    silent = 0.0
    while True:
        try:
            found = await kube.get(BENCHMARK, namespace, name)
        except Unavailable:
            silent += poll
            if silent > PATIENCE_SECONDS:
                raise
        else:
            silent = 0.0
            seen = standing.of_status(found.get("status", {}))
            show(seen)
            if seen.ended:
                return found
        await asyncio.sleep(poll)


async def fetch(kube: Kube, namespace: str, name: str, out: Path) -> list[str]:
    """Write the results that a benchmark's ConfigMap has to a directory.

    Returns:
        what did not fit into the ConfigMap.

    Raises:
        BenchmarkError: it has none (yet), or they are in a volume, or cannot be written.
        NotFound: there is no such benchmark.
    """
    found = await kube.get(BENCHMARK, namespace, name)
    results: Mapping[str, Any] = found.get("status", {}).get("results", {})
    claim = results.get("persistentVolumeClaim")
    if claim:
        raise BenchmarkError(
            f"the results of {name} are in the claim {claim}, folder {name}: copy them from a pod that mounts it"
        )
    if "configMap" not in results:
        raise BenchmarkError(f"{name} has no results yet: peersdb-operator benchmark watch {name}")
    try:
        stored = await kube.get(CONFIG_MAP, namespace, results["configMap"])
    except NotFound as error:
        raise BenchmarkError(f"the results of {name} were deleted: {error}") from error
    write(unpacked(stored), out)
    return [str(file) for file in results.get("omitted", [])]


def unpacked(config_map: Object) -> dict[str, bytes]:
    """Give the files of a ConfigMap by name, those that were packed with gzip unpacked.

    Raises:
        BenchmarkError: one cannot be unpacked.
    """
    files = {name: text.encode() for name, text in config_map.get("data", {}).items()}
    files |= {name: base64.b64decode(text) for name, text in config_map.get("binaryData", {}).items()}
    return {
        name.removesuffix(".gz") if data.startswith(b"\x1f\x8b") else name: _gunzip(name, data)
        for name, data in files.items()
        if Path(name).name == name
    }


def _gunzip(name: str, data: bytes) -> bytes:
    if not data.startswith(b"\x1f\x8b"):
        return data
    unpacker = zlib.decompressobj(wbits=31)
    try:
        whole = unpacker.decompress(data, MOST_UNPACKED)
    except zlib.error as error:
        raise BenchmarkError(f"the result {name} cannot be unpacked: {error}") from error
    if not unpacker.eof:
        raise BenchmarkError(f"the result {name} is cut off, or has more than {MOST_UNPACKED} bytes")
    return whole


def write(files: Mapping[str, bytes], out: Path) -> None:
    """Write files to a directory, which is made.

    Raises:
        BenchmarkError: they cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (out / name).write_bytes(data)
    except OSError as error:
        raise BenchmarkError(f"{out} cannot be written: {error.strerror}") from error
