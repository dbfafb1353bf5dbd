"""Who is driven, from where, and who joins when: pure."""

from __future__ import annotations

from typing import Any

from peersdb_operator import load, members, names
from peersdb_operator.benchmark import Benchmark
from peersdb_operator.cluster import Cluster, Group
from peersdb_operator.kube.benchmark import naming
from peersdb_operator.load import BOOTSTRAP, Newcomer, Workers

Target = dict[str, str]
"""A member as the load test reads it."""


def regions(cluster: Cluster, benchmark: Benchmark) -> tuple[str, ...]:
    """List the regions that take part, the root's first: those with members, or with newcomers to come."""
    found = [
        group.region
        for group in cluster.groups
        if group.replicas or benchmark.profile == BOOTSTRAP
    ]  # fmt: skip
    return tuple(dict.fromkeys(found))


def workers(cluster: Cluster, benchmark: Benchmark) -> tuple[Workers, ...]:
    """Spread the workers over the regions: each gets one before any gets two; what has none is driven by the others."""
    return load.workers(regions(cluster, benchmark), benchmark.workers)


def targets(cluster: Cluster) -> list[Target]:
    """List the cluster's members as targets, roots first."""
    return [
        _target(cluster, member.name, names.pod_host(cluster, member.group, member.index), member.group)
        for member in members.of_cluster(cluster)
    ]


def newcomers(cluster: Cluster, benchmark: Benchmark, wave: int) -> tuple[Newcomer, ...]:
    """List the newcomers of one wave, from 1: of one region in turn, or each of the next region."""
    return load.newcomers(benchmark, regions(cluster, benchmark), wave)


def newcomers_so_far(cluster: Cluster, benchmark: Benchmark, wave: int) -> dict[str, int]:
    """Count the newcomers of all waves up to one, by region."""
    counts: dict[str, int] = {}
    for number in range(1, wave + 1):
        for newcomer in newcomers(cluster, benchmark, number):
            counts[newcomer.region] = counts.get(newcomer.region, 0) + 1
    return counts


def newcomer_targets(cluster: Cluster, benchmark: Benchmark, wave: int) -> list[Target]:
    """List the newcomers of a wave as targets."""
    found = []
    for newcomer in newcomers(cluster, benchmark, wave):
        group = newcomers_like(cluster, newcomer.region, 0)
        host = names.pod_host(cluster, group, newcomer.index)
        found.append(_target(cluster, names.member(group, newcomer.index), host, group))
    return found


def newcomers_like(cluster: Cluster, region: str, count: int) -> Group:
    """Give the group of a region's newcomers: as the region's peers are, without volumes."""
    like = next((group for group in cluster.regions if group.region == region), cluster.root)
    return Group(
        name=naming.newcomers_group(region),
        region=region,
        is_root=False,
        replicas=count,
        node_selector=like.node_selector,
        tolerations=like.tolerations,
        affinity=like.affinity,
        storage=type(like.storage)(like.storage.size, None, ephemeral=True),
        resources=like.resources,
        paused=False,
    )


def _target(cluster: Cluster, name: str, host: str, group: Group) -> Target:
    return {
        "name": name,
        "http": f"http://{host}:{cluster.http_port}",
        "region": group.region,
        "role": names.role(group),
    }


def as_json(cluster: Cluster) -> dict[str, Any]:
    """Give the content of targets.json."""
    return {"members": targets(cluster)}
