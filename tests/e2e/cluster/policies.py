"""What NetworkPolicies mean, as rules of nftables: pure.

Every packet of a pod is routed, so that its node's forward hook sees it, after Services were resolved. What a node
itself sends to its pods (a kubelet's probes) goes by another hook and is let through, as the API demands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

TABLE = "network-policies"

#: direction of the API: its list of peers, the packet's side of the selected pod, the peer's side
_SIDES = {"Ingress": ("from", "daddr", "saddr"), "Egress": ("to", "saddr", "daddr")}


@dataclass(frozen=True)
class Pod:
    """What matters of a pod.

    Attributes:
        namespace: its namespace.
        address: its IPv4 address.
        labels: its labels.
        ports: its named ports: (name, protocol in small letters) → number.
    """

    namespace: str
    address: str
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[tuple[str, str], int] = field(default_factory=dict)

    @classmethod
    def read(cls, pod: Mapping[str, Any]) -> Pod | None:
        """Read a pod of the API; None for one that has no address of its own (any more)."""
        status, spec = pod.get("status", {}), pod["spec"]
        if (
            spec.get("hostNetwork")
            or not status.get("podIP")
            or status.get("phase") in {"Succeeded", "Failed"}
        ):
            return None
        ports = {
            (port["name"], port.get("protocol", "TCP").lower()): port["containerPort"]
            for container in spec["containers"]
            for port in container.get("ports", ())
            if "name" in port
        }
        metadata = pod["metadata"]
        return cls(metadata["namespace"], status["podIP"], metadata.get("labels", {}), ports)


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector selects these labels; an empty one selects all."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(_matches(expression, labels) for expression in selector.get("matchExpressions", ()))


def _matches(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values", ())
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return key not in labels or labels[key] not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


@dataclass(frozen=True)
class _Scope:
    """What one policy speaks of: the pods that it selects, and all that its peers may be."""

    namespace: str
    selected: Sequence[Pod]
    pods: Sequence[Pod]
    namespaces: Mapping[str, Mapping[str, str]]


def rules(
    pods: Sequence[Pod], namespaces: Mapping[str, Mapping[str, str]], policies: Iterable[Mapping[str, Any]]
) -> str:
    """Write the table that enforces the policies.

    Args:
        pods: all pods of the cluster that have addresses.
        namespaces: the labels of each.
        policies: the NetworkPolicies, as the API has them.
    """
    allowed: dict[str, set[str]] = {direction: set() for direction in _SIDES}
    isolated: dict[str, set[str]] = {direction: set() for direction in _SIDES}
    for policy in policies:
        namespace, spec = policy["metadata"]["namespace"], policy["spec"]
        chosen = spec.get("podSelector", {})
        selected = [pod for pod in pods if pod.namespace == namespace and selects(chosen, pod.labels)]
        if not selected:
            continue
        scope = _Scope(namespace, selected, pods, namespaces)
        for direction in spec.get("policyTypes") or ["Ingress", *(["Egress"] if "egress" in spec else [])]:
            isolated[direction] |= {pod.address for pod in selected}
            for rule in spec.get(direction.lower()) or ():
                allowed[direction] |= _allowing(direction, rule, scope)
    return _table(allowed, isolated)


def _table(allowed: Mapping[str, set[str]], isolated: Mapping[str, set[str]]) -> str:
    lines = [f"add table ip {TABLE}", f"delete table ip {TABLE}", f"table ip {TABLE} {{"]
    for direction, some in allowed.items():
        lines += [f"  chain {direction} {{", *(f"    {rule} return" for rule in sorted(some))]
        lines += ["    counter drop", "  }"]
    lines += [
        "  chain forward {",
        "    type filter hook forward priority 10; policy accept;",
        "    ct state established,related accept",
    ]
    # A pod always reaches itself, also by a Service that leads back to it.
    either: set[str] = set().union(*isolated.values())
    lines += [f"    ip saddr {address} ip daddr {address} accept" for address in sorted(either)]
    for direction, some in isolated.items():
        if some:
            lines.append(f"    ip {_SIDES[direction][1]} {_set(some)} jump {direction}")
    return "\n".join([*lines, "  }", "}", ""])


def _allowing(direction: str, rule: Mapping[str, Any], scope: _Scope) -> set[str]:
    """Match the packets that one rule of a policy lets through."""
    key, side, other = _SIDES[direction]
    targets = scope.selected if direction == "Ingress" else scope.pods
    me = f"ip {side} {_set(pod.address for pod in scope.selected)}"
    return {
        " ".join(part for part in (me, peer, port) if part)
        for peer in _peers(rule.get(key), other, scope)
        for port in _ports(rule.get("ports"), targets)
    }


def _peers(peers: Sequence[Mapping[str, Any]] | None, side: str, scope: _Scope) -> list[str]:
    if not peers:
        return [""]
    matches, addresses = [], set()
    for peer in peers:
        if "ipBlock" in peer:
            block = peer["ipBlock"]
            but = f" ip {side} != {_set(block['except'])}" if block.get("except") else ""
            matches.append(f"ip {side} {block['cidr']}{but}")
            continue
        among = {scope.namespace}
        if "namespaceSelector" in peer:
            wanted = peer["namespaceSelector"]
            among = {name for name, labels in scope.namespaces.items() if selects(wanted, labels)}
        chosen = peer.get("podSelector", {})
        addresses |= {
            pod.address for pod in scope.pods if pod.namespace in among and selects(chosen, pod.labels)
        }
    if addresses:
        matches.append(f"ip {side} {_set(addresses)}")
    return matches


def _ports(ports: Sequence[Mapping[str, Any]] | None, targets: Sequence[Pod]) -> list[str]:
    if not ports:
        return [""]
    matches = []
    for entry in ports:
        protocol, port = entry.get("protocol", "TCP").lower(), entry.get("port")
        if port is None:
            matches.append(f"meta l4proto {protocol}")
        elif isinstance(port, int):
            end = f"-{entry['endPort']}" if "endPort" in entry else ""
            matches.append(f"{protocol} dport {port}{end}")
        else:
            matches += [
                f"ip daddr {pod.address} {protocol} dport {pod.ports[port, protocol]}"
                for pod in targets
                if (port, protocol) in pod.ports
            ]
    return matches


def _set(values: Iterable[str]) -> str:
    return f"{{ {', '.join(sorted(values))} }}"
