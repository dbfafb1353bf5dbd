"""Who is driven, from where, and who joins when: pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from peersdb_operator import members, names
from peersdb_operator.benchmark import Benchmark
from peersdb_operator.cluster import Cluster, Group
from peersdb_operator.kube.benchmark import naming

Target = dict[str, str]
"""A member as the load test reads it."""

BOOTSTRAP = "bootstrap"


@dataclass(frozen=True, slots=True)
class Workers:
    """The workers of one region.

    Attributes:
        region: where they run.
        drives: the regions whose members they drive.
        count: how many.
    """

    region: str
    drives: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A peer that joins in a wave.

    Attributes:
        region: where.
        index: its number among the region's, from 0.
    """

    region: str
    index: int


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
    places = regions(cluster, benchmark)
    wanted = benchmark.workers or len(places)
    if wanted < len(places):
        return tuple(
            Workers(region, places[number::wanted], 1) for number, region in enumerate(places[:wanted])
        )
    least, more = divmod(wanted, len(places))
    return tuple(Workers(region, (region,), least + (number < more)) for number, region in enumerate(places))


def targets(cluster: Cluster) -> list[Target]:
    """List the cluster's members as targets, roots first."""
    return [
        _target(cluster, member.name, names.pod_host(cluster, member.group, member.index), member.group)
        for member in members.of_cluster(cluster)
    ]


def newcomers(cluster: Cluster, benchmark: Benchmark, wave: int) -> tuple[Newcomer, ...]:
    """List the newcomers of one wave, from 1: of one region in turn, or each of the next region."""
    places = regions(cluster, benchmark)
    size, spread = benchmark.newcomers.per_wave, benchmark.newcomers.order == "Spread"
    before: dict[str, int] = {}
    found: list[Newcomer] = []
    for number in range(size * wave):
        turn = number if spread else number // size
        region = places[turn % len(places)]
        newcomer = Newcomer(region, before.get(region, 0))
        before[region] = newcomer.index + 1
        found.append(newcomer)
    return tuple(found[size * (wave - 1) :])


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
