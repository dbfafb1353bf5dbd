"""``drift``: whether a column is still distributed as a reference says.

Two statistics, each of one column:

- ``psi``, the population stability index: the sum of (p - q) ln(p / q) over bins, p and q being the shares of the
  file and of the reference in a bin (N. Siddiqi, *Credit Risk Scorecards*, Wiley 2006). Below 0.1 is no change,
  above 0.25 a large one.
- ``ks``, the two-sample Kolmogorov-Smirnov test: the largest distance D of the two distribution functions. It is
  beyond chance at level a when D > sqrt(-ln(a / 2) / 2) sqrt((n + m) / nm) (N. Smirnov, *Table for estimating the
  goodness of fit of empirical distributions*, Annals of Mathematical Statistics 19, 1948). Of large files every
  small difference is beyond chance: `max_distance` is the limit for these.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from peersdb.validators.api import File, Finding, OptionsError, abstain, invalid, valid
from peersdb.validators.builtin.options import Kind, mapping, number, text
from peersdb.validators.builtin.tables import MAX_ROWS, CannotSay, NoTable, rows

#: An empty bin would make the index infinite: it counts as this share.
EMPTY_SHARE = 1e-4

OPTIONS: Mapping[str, Kind] = {
    "column": text(),
    "statistic": text("psi", "ks"),
    "reference": mapping(),
    "max_psi": number(0, 100, whole=False),
    "alpha": number(1e-12, 0.5, whole=False),
    "max_distance": number(0, 1, whole=False),
    "max_rows": number(1, MAX_ROWS),
}


def check(file: File, options: Mapping[str, Any]) -> Finding:
    """Invalid when the column's distribution is too far from the reference.

    Options:
        column: its name; needed.
        statistic: ``psi`` unless given, or ``ks``.
        reference: for ``psi`` ``{"edges": [...], "counts": [...]}``, with one more count than edges; for ``ks``
            ``{"sample": [...]}``; needed.
        max_psi: 0.25 unless given.
        alpha: level of ``ks``, 0.01 unless given.
        max_distance: of ``ks``, in place of a level.
        max_rows: how many are looked at (1,000,000).
    """
    column, reference = options.get("column"), options.get("reference")
    if column is None or reference is None:
        raise OptionsError("give column and reference")
    values = array("d")
    try:
        for row in rows(file, options.get("max_rows", MAX_ROWS)):
            if not values and column not in row:
                return invalid(f"there is no column {column!r}")
            value = row.get(column)
            if value is None or value == "":
                continue
            try:
                values.append(float(value))
            except (TypeError, ValueError):
                return invalid(f"column {column!r} has {value!r}, which is no number")
    except NoTable as error:
        return invalid(str(error))
    except CannotSay as reason:
        return abstain(str(reason))
    if not values:
        return abstain(f"column {column!r} has no values")
    judge = _psi if options.get("statistic", "psi") == "psi" else _ks
    return judge(column, values, reference, options)


def _psi(
    column: str, values: Sequence[float], reference: Mapping[str, Any], options: Mapping[str, Any]
) -> Finding:
    edges, counts = _numbers(reference, "edges"), _numbers(reference, "counts")
    if len(counts) != len(edges) + 1 or sorted(edges) != edges or min(counts) < 0 or sum(counts) <= 0:
        raise OptionsError(
            "reference: edges have to rise, and counts to be one more than edges and not all 0"
        )
    found = [0] * len(counts)
    for value in values:
        found[bisect_right(edges, value)] += 1
    index = population_stability(found, counts)
    most = options.get("max_psi", 0.25)
    text_ = f"column {column!r}: the population stability index is {index:.4f}"
    return valid(text_) if index <= most else invalid(f"{text_}, more than {most:g}")


def _ks(
    column: str, values: Sequence[float], reference: Mapping[str, Any], options: Mapping[str, Any]
) -> Finding:
    sample = _numbers(reference, "sample")
    if not sample:
        raise OptionsError("reference: the sample is empty")
    distance = kolmogorov_smirnov(values, sample)
    n, m = len(values), len(sample)
    most = options.get("max_distance")
    if most is None:
        most = math.sqrt(-math.log(options.get("alpha", 0.01) / 2) / 2) * math.sqrt((n + m) / (n * m))
    text_ = f"column {column!r}: the distance of Kolmogorov and Smirnov is {distance:.4f}"
    return valid(text_) if distance <= most else invalid(f"{text_}, more than {most:.4f}")


def population_stability(found: Sequence[float], reference: Sequence[float]) -> float:
    """The index of two counts by the same bins."""
    index = 0.0
    for one, other in zip(found, reference, strict=True):
        p = max(one / sum(found), EMPTY_SHARE)
        q = max(other / sum(reference), EMPTY_SHARE)
        index += (p - q) * math.log(p / q)
    return index


def kolmogorov_smirnov(one: Sequence[float], other: Sequence[float]) -> float:
    """The largest distance of two samples' distribution functions."""
    a, b = sorted(one), sorted(other)
    return max(abs(bisect_right(a, value) / len(a) - bisect_right(b, value) / len(b)) for value in (*a, *b))


def _numbers(reference: Mapping[str, Any], name: str) -> list[float]:
    values = reference.get(name)
    if not isinstance(values, list) or not all(isinstance(one, (int, float)) for one in values):
        raise OptionsError(f"reference: {name} has to be a list of numbers")
    return [float(one) for one in values]
