"""The peers that join under ``bootstrap``: StatefulSets of the benchmark's own, without volumes. Pure.

They are as the peers of their region are, but for their labels: the cluster's Services, budgets and StatefulSets select
by the name ``peersdb`` and never see them, so that no user's request and no user's volume ends up with them.
"""

from __future__ import annotations

from typing import Any

from peersdb_operator import builders, names
from peersdb_operator.benchmark import Benchmark
from peersdb_operator.cluster import Cluster, Group
from peersdb_operator.kube.benchmark import naming, objects, spread

Object = dict[str, Any]


def build(cluster: Cluster, benchmark: Benchmark, uid: str, wave: int) -> list[Object]:
    """Build the Services and StatefulSets of all newcomers up to a wave; none before the first.

    Args:
        cluster: what they join.
        benchmark: whose they are.
        uid: of the benchmark's resource.
        wave: the last one that was begun, from 1.
    """
    found: list[Object] = []
    for region, count in spread.newcomers_so_far(cluster, benchmark, wave).items():
        group = spread.newcomers_like(cluster, region, count)
        found += [
            objects.owned(_relabelled(obj, cluster, group, benchmark), benchmark, uid)
            for obj in (builders.headless_service(cluster, group), builders.stateful_set(cluster, group))
        ]
    return found


def labels(cluster: Cluster, group: Group, benchmark: Benchmark) -> dict[str, str]:
    """Give the labels of a region's newcomers."""
    return {
        names.NAME_LABEL: naming.NEWCOMER_APP,
        names.INSTANCE_LABEL: cluster.name,
        **naming.common_labels(benchmark.name),
        names.ROLE_LABEL: naming.NEWCOMER_ROLE,
        names.REGION_LABEL: group.region,
    }


def _relabelled(obj: Object, cluster: Cluster, group: Group, benchmark: Benchmark) -> Object:
    """Give an object of a group's with the labels and the selectors of newcomers."""
    own = labels(cluster, group, benchmark)
    selector = {**naming.newcomers_selector(benchmark.name), names.REGION_LABEL: group.region}
    spec = dict(obj["spec"])
    if obj["kind"] == "Service":
        spec["selector"] = selector
    else:
        pod = dict(spec["template"]["spec"])
        pod["topologySpreadConstraints"] = [
            {**constraint, "labelSelector": {"matchLabels": selector}}
            for constraint in pod["topologySpreadConstraints"]
        ]
        spec["selector"] = {"matchLabels": selector}
        spec["template"] = {"metadata": {**spec["template"]["metadata"], "labels": own}, "spec": pod}
    return {**obj, "metadata": {"name": obj["metadata"]["name"], "labels": own}, "spec": spec}
