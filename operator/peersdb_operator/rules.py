"""The CRD's CEL rules in Python: the same verdict, under the same message, at the same path.

Two tables stand here in the order of the CRD: ``RULES`` judge a manifest, ``TRANSITIONS`` a change from one
that is in force. Each rule is evaluated on the plain values after defaulting, and only if nothing it reads
has a wrong type or is missing. A test holds tables and CRD together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from peersdb_operator.documents import Path, render
from peersdb_operator.errors import Fault

_SUFFIXES = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50}


@dataclass(frozen=True, slots=True)
class Rule:
    """The twin of one CEL rule.

    Attributes:
        path: the field that its fault is reported at.
        message: what the CRD says.
        reads: the fields it needs; it is not evaluated if the shape of one is wrong.
        holds: whether a whole object (after defaulting) keeps it.
    """

    path: Path
    message: str
    reads: tuple[Path, ...]
    holds: Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Transition:
    """The twin of one CEL rule over ``oldSelf``: as `Rule`, but ``holds`` takes the new and the old
    object.
    """

    path: Path
    message: str
    holds: Callable[[Any, Any], bool]


def quantity(text: str) -> Fraction:
    """Read a Kubernetes quantity as the CRD's pattern for sizes allows it.

    Raises:
        ValueError: it is none.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]*)", text)
    if match is None or match[2] not in {**_SUFFIXES, **_BINARY}:
        raise ValueError(f"{text!r} is not a quantity such as 10Gi")
    factor = 2 ** _BINARY[match[2]] if match[2] in _BINARY else 10 ** _SUFFIXES[match[2]]
    return Fraction(match[1]) * Fraction(factor)


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


def broken(value: Any, faults: Sequence[Fault]) -> Iterator[Fault]:
    """List the rules that an object breaks.

    Args:
        value: the object after defaulting.
        faults: what is structurally wrong with it.
    """
    misshapen = [fault.path for fault in faults if fault.shape]
    for rule in RULES:
        touched = any(_overlap(path, render(read)) for path in misshapen for read in rule.reads)
        if not touched and not rule.holds(value):
            yield Fault(render(rule.path), rule.message)


def forbidden(new: Any, old: Any) -> Iterator[Fault]:
    """List the changes from one valid object to another that are not allowed."""
    for rule in TRANSITIONS:
        if not rule.holds(new, old):
            yield Fault(render(rule.path), rule.message)


def _overlap(one: str, other: str) -> bool:
    """Tell whether one of two fields holds the other."""
    return any(a == b or a.startswith((f"{b}.", f"{b}[")) for a, b in ((one, other), (other, one)))
