"""Manifests of whichever of our resources, told apart by their kind."""

from __future__ import annotations

from pathlib import Path

from peersdb_operator import benchmark, cluster, manifest
from peersdb_operator.benchmark import Benchmark
from peersdb_operator.cluster import Cluster
from peersdb_operator.definition import BENCHMARK
from peersdb_operator.documents import load
from peersdb_operator.errors import Fault, ManifestError


def read(path: Path) -> Cluster | Benchmark:
    """Read a manifest file.

    Raises:
        ManifestError: it cannot be read, or has faults; all of them.
    """
    return parse(manifest.contents(path), str(path))


def parse(data: bytes, source: str = "manifest") -> Cluster | Benchmark:
    """Judge the text of a manifest; what names no kind is judged as a cluster.

    Raises:
        ManifestError: every fault, with its path, line and column.
    """
    first = next((document.value for document in load(data, source)), None)
    of_benchmark = isinstance(first, dict) and first.get("kind") == BENCHMARK.kind
    return benchmark.parse(data, source) if of_benchmark else cluster.parse(data, source)


def check_change(new: Cluster | Benchmark, old: Cluster | Benchmark, source: str = "manifest") -> None:
    """Judge a change by the CRD's rules over ``oldSelf``.

    Raises:
        ManifestError: the changes that are not allowed.
    """
    if isinstance(new, Cluster) and isinstance(old, Cluster):
        cluster.check_change(new, old, source)
    elif isinstance(new, Benchmark) and isinstance(old, Benchmark):
        benchmark.check_change(new, old, source)
    else:
        kind = old.manifest["kind"]
        raise ManifestError(
            source, [Fault("kind", f"the manifest in force is a {kind}: compare it with one")]
        )


def describe(wanted: Cluster | Benchmark) -> str:
    """Say what a manifest means, in half a sentence."""
    if isinstance(wanted, Benchmark):
        cells = wanted.matrix.cells
        what = f"{wanted.profile}, {wanted.users} users"
        return f"{wanted.name} measures {wanted.cluster}: {what}, {cells} cells, {wanted.repeats} repeats"
    members = sum(group.replicas for group in wanted.groups)
    return f"{wanted.name} has {len(wanted.regions)} regions, {members} nodes"
