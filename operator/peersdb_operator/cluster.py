"""A manifest as typed, frozen values; every fault of one that is refused.

``parse`` gives the verdict that an API server with this CRD would give on ``kubectl apply``: defaults,
structure, unknown fields and CEL rules. One difference is meant: a name is required (``generateName`` makes
one in the server).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from peersdb_operator.cluster_rules import RULES, TRANSITIONS
from peersdb_operator.definition import CLUSTER
from peersdb_operator.manifest import Image, Reader

ROOT_GROUP = "root"


@dataclass(frozen=True, slots=True)
class Storage:
    """The effective storage of each member of a group."""

    size: str
    storage_class_name: str | None
    ephemeral: bool


@dataclass(frozen=True, slots=True)
class Retention:
    """What becomes of volumes: ``Retain`` or ``Delete``."""

    when_deleted: str
    when_scaled: str


@dataclass(frozen=True, slots=True)
class Validation:
    """Who judges files, and whose votes decide.

    Attributes:
        enabled: members judge what arrives without being asked.
        quorum_percent: the share of the voters' weight that a side needs more of.
        voters: peer ids and weights; none means each member's connected peers.
        rules: which validators look at which files, as the node's ``-validators`` takes it; empty: the default ones.
    """

    enabled: bool
    quorum_percent: int
    voters: tuple[tuple[str, int], ...]
    rules: str


@dataclass(frozen=True, slots=True)
class Access:
    """Who may reach the nodes besides the members and the operator.

    Attributes:
        enabled: whether a NetworkPolicy says so.
        http_from: peers of a NetworkPolicy; None means all pods of the namespace.
        p2p_from: likewise for libp2p; None means nobody.
    """

    enabled: bool
    http_from: tuple[Mapping[str, Any], ...] | None
    p2p_from: tuple[Mapping[str, Any], ...] | None


@dataclass(frozen=True, slots=True)
class SecretRef:
    """A Secret of the cluster's namespace.

    Attributes:
        name: its name.
        generate: whether the operator makes it where it is missing.
    """

    name: str
    generate: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Members that are alike: the roots, or the peers of one region.

    Attributes:
        name: ``root``, or the region's name.
        region: where they run.
        is_root: whether newcomers bootstrap from them.
        replicas: how many.
        affinity: of the pods, as in a pod's spec.
        paused: whether changes of it wait.
        resources: requests and limits by resource as the manifest has them; empty means the builder's
            default.
    """

    name: str
    region: str
    is_root: bool
    replicas: int
    node_selector: Mapping[str, str]
    tolerations: tuple[Mapping[str, Any], ...]
    affinity: Mapping[str, Any]
    storage: Storage
    resources: Mapping[str, Mapping[str, Any]]
    paused: bool


@dataclass(frozen=True, slots=True)
class Cluster:
    """One valid manifest, all defaults filled in.

    Attributes:
        namespace: the manifest's, or None where the tool that applies it decides.
        labels: the manifest's own labels.
        force_scale_down: whether members may be taken away without a proof that others hold what they hold.
        manifest: the whole object after defaulting.
        written: the whole object as it was written.
    """

    name: str
    namespace: str | None
    labels: Mapping[str, str]
    image: Image
    root: Group
    regions: tuple[Group, ...]
    region_label_key: str
    retention: Retention
    benchmark: bool
    validation: Validation
    libp2p_port: int
    http_port: int
    ip_family_policy: str | None
    access: Access
    api_token: SecretRef | None
    swarm_key: SecretRef | None
    force_scale_down: bool
    deletion_protection: bool
    paused: bool
    manifest: Mapping[str, Any]
    written: Mapping[str, Any]

    @property
    def groups(self) -> tuple[Group, ...]:
        """The root's group, then the regions in the manifest's order."""
        return (self.root, *self.regions)


def _cluster(filled: dict[str, Any], value: Mapping[str, Any]) -> Cluster:
    spec, metadata = filled["spec"], filled["metadata"]
    network, retention = spec["network"], spec["storage"]["retentionPolicy"]
    policy, security = network["networkPolicy"], spec.get("security", {})
    return Cluster(
        name=metadata["name"],
        namespace=metadata.get("namespace"),
        labels=metadata.get("labels") or {},
        image=Image.of(spec["image"]),
        root=_group(spec, spec["root"], ROOT_GROUP, spec["root"]["region"], is_root=True),
        regions=tuple(
            _group(spec, region, region["name"], region["name"], is_root=False) for region in spec["regions"]
        ),
        region_label_key=spec["regionLabelKey"],
        retention=Retention(retention["whenDeleted"], retention["whenScaled"]),
        benchmark=spec["benchmark"]["enabled"],
        validation=_validation(spec["validation"]),
        libp2p_port=int(network["libp2pPort"]),
        http_port=int(network["httpPort"]),
        ip_family_policy=network.get("ipFamilyPolicy"),
        access=Access(policy["enabled"], _peers(policy, "httpFrom"), _peers(policy, "p2pFrom")),
        api_token=_secret(security, "apiTokenSecretRef"),
        swarm_key=_secret(security, "swarmKeySecretRef"),
        force_scale_down=spec.get("scaleDown", {}).get("policy") == "Force",
        deletion_protection=spec["deletionProtection"],
        paused=spec["paused"],
        manifest=filled,
        written=value,
    )


def _group(
    spec: Mapping[str, Any], group: Mapping[str, Any], name: str, region: str, *, is_root: bool
) -> Group:
    storage = {**spec["storage"], **group.get("storage", {})}
    return Group(
        name=name,
        region=region,
        is_root=is_root,
        replicas=int(group["replicas"]),
        node_selector=group.get("nodeSelector", {}),
        tolerations=tuple(group.get("tolerations", ())),
        affinity=group.get("affinity", {}),
        storage=Storage(storage["size"], storage.get("storageClassName"), storage["ephemeral"]),
        resources={key: amounts for key, amounts in group.get("resources", {}).items() if amounts},
        paused=group.get("paused", False),
    )


def _peers(policy: Mapping[str, Any], field: str) -> tuple[Mapping[str, Any], ...] | None:
    return tuple(policy[field]) if field in policy else None


def _secret(security: Mapping[str, Any], field: str) -> SecretRef | None:
    reference = security.get(field)
    return None if reference is None else SecretRef(reference["name"], reference["generate"])


def _validation(spec: Mapping[str, Any]) -> Validation:
    rules = [
        {
            "pattern": rule["pattern"],
            "validators": [{"name": rule["name"], "options": rule.get("options", {})}],
        }
        for rule in spec.get("validators", [])
    ]
    return Validation(
        enabled=spec["enabled"],
        quorum_percent=int(spec["quorumPercent"]),
        voters=tuple((voter["peerId"], int(voter["weight"])) for voter in spec.get("voters", [])),
        # With sorted keys, so that the same manifest never makes other pods.
        rules=json.dumps(rules, separators=(",", ":"), sort_keys=True) if rules else "",
    )


READER = Reader(CLUSTER, RULES, TRANSITIONS, _cluster)
read, parse, from_object = READER.read, READER.parse, READER.from_object
object_faults, check_change = READER.object_faults, READER.check_change
