"""Simulated nodes, by kwok: pods on them become Running and Ready without any container; hundreds cost nothing.

They carry the label ``type=kwok`` and a taint, so that only pods that ask for them get there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

ANNOTATION = "kwok.x-k8s.io/node"
TOLERATION = {"key": ANNOTATION, "operator": "Exists", "effect": "NoSchedule"}
"""What a pod needs to land on one."""
SELECTOR = {"type": "kwok"}
"""The node selector that lands only there."""

#: Addresses of pods that do not exist.
PODS = "10.200.0.0/16"


def kwok(program: Path, kubeconfig: Path, address: str) -> list[str]:
    """Give the command line of what plays the kubelets; ``address`` is what nodes say theirs is."""
    return [
        str(program),
        f"--kubeconfig={kubeconfig}",
        "--manage-all-nodes=false",
        f"--manage-nodes-with-annotation-selector={ANNOTATION}=fake",
        f"--cidr={PODS}",
        f"--node-ip={address}",
        "--node-lease-duration-seconds=40",
    ]


def nodes(count: int, regions: Sequence[str]) -> list[dict[str, Any]]:
    """Give so many nodes, spread over the regions."""
    return [_node(number, regions[number % len(regions)]) for number in range(count)]


def _node(number: int, region: str) -> dict[str, Any]:
    name = f"simulated-{number}"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {ANNOTATION: "fake", "node.alpha.kubernetes.io/ttl": "0"},
            "labels": {
                **SELECTOR,
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "topology.kubernetes.io/region": region,
                "topology.kubernetes.io/zone": f"{region}-a",
            },
        },
        "spec": {"taints": [{"key": ANNOTATION, "value": "fake", "effect": "NoSchedule"}]},
    }
