"""CEL rules of a CRD in Python: the same verdict, under the same message, at the same path.

Each resource has two tables in the order of its CRD (``cluster_rules``, ``benchmark_rules``): rules judge a
manifest, transitions a change from one that is in force. Each rule is evaluated on the plain values after
defaulting, and only if nothing it reads has a wrong type or is missing. A test holds tables and CRD together.
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
_SECONDS = {"ms": Fraction(1, 1000), "s": Fraction(1), "m": Fraction(60), "h": Fraction(3600)}


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


def seconds(text: str) -> Fraction:
    """Read a duration of one number and one unit, as the CRDs' patterns allow it: ``1.5s``, ``10m``.

    Raises:
        ValueError: it is none.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)", text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 30s")
    return Fraction(match[1]) * _SECONDS[match[2]]


def broken(rules: Sequence[Rule], value: Any, faults: Sequence[Fault]) -> Iterator[Fault]:
    """List the rules that an object breaks.

    Args:
        rules: the resource's.
        value: the object after defaulting.
        faults: what is structurally wrong with it.
    """
    misshapen = [fault.path for fault in faults if fault.shape]
    for rule in rules:
        touched = any(_overlap(path, render(read)) for path in misshapen for read in rule.reads)
        if not touched and not rule.holds(value):
            yield Fault(render(rule.path), rule.message)


def forbidden(transitions: Sequence[Transition], new: Any, old: Any) -> Iterator[Fault]:
    """List the changes from one valid object to another that are not allowed."""
    for rule in transitions:
        if not rule.holds(new, old):
            yield Fault(render(rule.path), rule.message)


def _overlap(one: str, other: str) -> bool:
    """Tell whether one of two fields holds the other."""
    return any(a == b or a.startswith((f"{b}.", f"{b}[")) for a, b in ((one, other), (other, one)))
