"""The rules of a cluster's definition, ``crds/peersdbclusters.yaml``: see ``rules``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from peersdb_operator.documents import Path
from peersdb_operator.rules import Rule, Transition, quantity


def _effective(spec: Any, group: Any, field: str) -> Any:
    """Give a field of a group's storage: its own, or the cluster's."""
    own = group.get("storage", {})
    return own[field] if field in own else spec["storage"].get(field, "-")


def _same(field: str, new: Any, old: Any) -> bool:
    if field == "size":
        return quantity(new) == quantity(old)
    return bool(new == old)


def _regions_keep(field: str) -> Callable[[Any, Any], bool]:
    def holds(new: Any, old: Any) -> bool:
        before = {region["name"]: region for region in old["spec"]["regions"]}
        return all(
            _same(
                field,
                _effective(new["spec"], region, field),
                _effective(old["spec"], before[region["name"]], field),
            )
            for region in new["spec"]["regions"]
            if region["name"] in before
        )

    return holds


def _root_keeps(field: str) -> Callable[[Any, Any], bool]:
    def holds(new: Any, old: Any) -> bool:
        return _same(
            field,
            _effective(new["spec"], new["spec"]["root"], field),
            _effective(old["spec"], old["spec"]["root"], field),
        )

    return holds


def _peers_are_one_thing(field: str) -> Callable[[Any], bool]:
    def holds(value: Any) -> bool:
        peers = value["spec"]["network"]["networkPolicy"].get(field, [])
        return all(
            ("ipBlock" in peer) != ("namespaceSelector" in peer or "podSelector" in peer) for peer in peers
        )

    return holds


_REGIONS: Path = ("spec", "regions")
_POLICY: Path = ("spec", "network", "networkPolicy")
_ROOT: Path = ("spec", "root")

RULES: Sequence[Rule] = (
    # self.spec.regions.all(r, size(self.metadata.name) + size(r.name) <= 45)
    Rule(
        _REGIONS,
        "metadata.name and the longest region name together must fit 45 characters",
        (("metadata", "name"), _REGIONS),
        lambda o: all(
            len(o["metadata"]["name"]) + len(region["name"]) <= 45 for region in o["spec"]["regions"]
        ),
    ),
    # self.regions.all(r, r.name != 'root')
    Rule(
        _REGIONS,
        "no region may be named root, the roots are named so",
        (_REGIONS,),
        lambda o: all(region["name"] != "root" for region in o["spec"]["regions"]),
    ),
    # has(self.tag) != has(self.digest)
    Rule(
        ("spec", "image"),
        "exactly one of tag and digest",
        (("spec", "image"),),
        lambda o: ("tag" in o["spec"]["image"]) != ("digest" in o["spec"]["image"]),
    ),
    # self.libp2pPort != self.httpPort
    Rule(
        ("spec", "network"),
        "libp2pPort and httpPort must differ",
        (("spec", "network"),),
        lambda o: o["spec"]["network"]["libp2pPort"] != o["spec"]["network"]["httpPort"],
    ),
    # self.httpFrom.all(p, has(p.ipBlock) != (has(p.namespaceSelector) || has(p.podSelector)))
    Rule(
        (*_POLICY, "httpFrom"),
        "each of httpFrom has either ipBlock or selectors",
        (_POLICY,),
        _peers_are_one_thing("httpFrom"),
    ),
    Rule(
        (*_POLICY, "p2pFrom"),
        "each of p2pFrom has either ipBlock or selectors",
        (_POLICY,),
        _peers_are_one_thing("p2pFrom"),
    ),
)

TRANSITIONS: Sequence[Transition] = (
    Transition(_REGIONS, "a region's storage size is immutable", _regions_keep("size")),
    Transition(_REGIONS, "a region's storageClassName is immutable", _regions_keep("storageClassName")),
    Transition(_REGIONS, "a region's storage.ephemeral is immutable", _regions_keep("ephemeral")),
    Transition(_ROOT, "the root's storage size is immutable", _root_keeps("size")),
    Transition(_ROOT, "the root's storageClassName is immutable", _root_keeps("storageClassName")),
    Transition(_ROOT, "the root's storage.ephemeral is immutable", _root_keeps("ephemeral")),
    # self == oldSelf
    Transition(
        (*_ROOT, "region"),
        "the root's region is immutable",
        lambda new, old: bool(new["spec"]["root"]["region"] == old["spec"]["root"]["region"]),
    ),
)
