"""A manifest as typed, frozen values; every fault of one that is refused.

``parse`` gives the verdict that an API server with this CRD would give on ``kubectl apply``: defaults,
structure, unknown fields and CEL rules. One difference is meant: a name is required (``generateName`` makes
one in the server).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from peersdb_operator import rules
from peersdb_operator.definition import API_VERSION, KIND, structural_faults, with_defaults
from peersdb_operator.documents import Document, load, render
from peersdb_operator.errors import Fault, ManifestError

ROOT_GROUP = "root"

_LABEL_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?\Z")
_LABEL_KEY = re.compile(
    r"(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z"
)
_DNS_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?\Z")

_METADATA_BY_SERVER = frozenset(
    {
        "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers", "generateName",
        "generation", "managedFields", "ownerReferences", "resourceVersion", "selfLink", "uid",
    }
)  # fmt: skip
"""Fields of ObjectMeta that a manifest may carry (``kubectl get -o yaml`` writes them) and that mean nothing
here."""


@dataclass(frozen=True, slots=True)
class Image:
    """The node's container image."""

    repository: str
    tag: str | None
    digest: str | None
    pull_policy: str
    pull_secrets: tuple[str, ...]

    @property
    def reference(self) -> str:
        """What a container's ``image`` field takes."""
        return f"{self.repository}@{self.digest}" if self.digest else f"{self.repository}:{self.tag}"


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


def read(path: FilePath) -> Cluster:
    """Read a manifest file.

    Raises:
        ManifestError: it cannot be read, or has faults; all of them.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ManifestError(str(path), [Fault("", f"cannot be read: {error.strerror}")]) from error
    return parse(data, str(path))


def parse(data: bytes, source: str = "manifest") -> Cluster:
    """Judge the text of a manifest.

    Args:
        data: the file's bytes; exactly one document that is not empty.
        source: what to call the file in messages.

    Raises:
        ManifestError: every fault, with its path, line and column.
    """
    documents = load(data, source)
    if not documents:
        raise ManifestError(source, [Fault("", f"empty: write a {KIND} of {API_VERSION}")])
    faults: list[Fault] = []
    for index, document in enumerate(documents):
        faults += [_placed(fault, document) for fault in object_faults(document.value)]
        if index:
            place = document.marks.get((), (0, 0))
            faults.append(Fault("", f"a second document: keep one {KIND} to a file", *place))
    if faults:
        raise ManifestError(source, sorted(faults, key=lambda fault: (fault.line, fault.column, fault.path)))
    return from_object(documents[0].value)


def object_faults(value: Any) -> list[Fault]:
    """List every fault of an object, as the API server would after defaulting."""
    if not isinstance(value, dict):
        return [Fault("", f"must be a mapping: write a {KIND} of {API_VERSION}", shape=True)]
    if value.get("kind") != KIND or value.get("apiVersion") != API_VERSION:
        return list(_kind_faults(value))
    filled = with_defaults(value)
    faults = structural_faults(filled)
    faults += _metadata_faults(filled.get("metadata"))
    return [*faults, *rules.broken(filled, faults)]


def from_object(value: Mapping[str, Any]) -> Cluster:
    """Make the typed values of an object.

    Raises:
        ManifestError: it has faults.
    """
    faults = object_faults(value)
    if faults:
        raise ManifestError("manifest", faults)
    filled = with_defaults(value)
    spec, metadata = filled["spec"], filled["metadata"]
    image, network, retention = spec["image"], spec["network"], spec["storage"]["retentionPolicy"]
    policy, security = network["networkPolicy"], spec.get("security", {})
    return Cluster(
        name=metadata["name"],
        namespace=metadata.get("namespace"),
        labels=metadata.get("labels") or {},
        image=Image(
            repository=image["repository"],
            tag=image.get("tag"),
            digest=image.get("digest"),
            pull_policy=image["pullPolicy"],
            pull_secrets=tuple(secret["name"] for secret in image.get("pullSecrets", [])),
        ),
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


def check_change(new: Cluster, old: Cluster, source: str = "manifest") -> None:
    """Judge a change by the CRD's rules over ``oldSelf``.

    Raises:
        ManifestError: the changes that are not allowed.
    """
    faults = list(rules.forbidden(new.manifest, old.manifest))
    if faults:
        raise ManifestError(source, faults)


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


def _kind_faults(value: Mapping[str, Any]) -> Iterator[Fault]:
    for field, wanted in (("apiVersion", API_VERSION), ("kind", KIND)):
        if value.get(field) != wanted:
            found = f"not {value[field]!r}" if value.get(field) is not None else "and is missing"
            yield Fault(field, f"must be {wanted}, {found}", shape=True)


def _metadata_faults(metadata: Any) -> Iterator[Fault]:
    """Judge what the CRD's schema leaves to the API server's own rules for ObjectMeta."""
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict):
        return  # a fault of the schema
    if "name" not in metadata:
        yield Fault("metadata.name", "required: give the cluster a name", shape=True)
    namespace = metadata.get("namespace")
    if namespace is not None and not (isinstance(namespace, str) and _DNS_LABEL.match(namespace)):
        yield Fault("metadata.namespace", "must be lower-case letters, digits and '-', at most 63")
    for field in ("labels", "annotations"):
        yield from _string_map_faults(f"metadata.{field}", metadata.get(field), values_too=field == "labels")
    for field in metadata:
        if field not in {"name", "namespace", "labels", "annotations"} and field not in _METADATA_BY_SERVER:
            yield Fault(f"metadata.{field}", "unknown field: take it out")


def _string_map_faults(path: str, value: Any, *, values_too: bool) -> Iterator[Fault]:
    if value is None:
        return
    if not isinstance(value, dict):
        yield Fault(path, "must be a mapping of strings", shape=True)
        return
    for key, item in value.items():
        if not _LABEL_KEY.match(key if values_too else key.lower()):
            yield Fault(
                f"{path}.{key}",
                "the key must be a name of at most 63 characters, with a domain and '/' before it or not",
            )
        if not isinstance(item, str):
            yield Fault(f"{path}.{key}", "must be a string: put it in quotes", shape=True)
        elif values_too and not _LABEL_VALUE.match(item):
            yield Fault(f"{path}.{key}", "must be at most 63 letters, digits, '-', '_' or '.'")


def _placed(fault: Fault, document: Document) -> Fault:
    """Give a fault the place of its field, or of the nearest one around it that the file has."""
    by_text = {render(path): mark for path, mark in document.marks.items()}
    path = fault.path
    while path not in by_text and path:
        path = re.sub(r"(?:\.?[^.\[\]]+|\[\d+\])\Z", "", path)
    line, column = by_text.get(path, (0, 0))
    return Fault(fault.path, fault.message, line, column, fault.shape)
