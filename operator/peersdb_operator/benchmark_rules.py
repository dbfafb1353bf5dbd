"""The rules of a benchmark's definition, ``crds/peersdbbenchmarks.yaml``: see ``rules``.

A text that its field's pattern refuses is a fault already, and is not judged again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from peersdb_operator.documents import Path
from peersdb_operator.rules import Rule, Transition, quantity, seconds

LEAST_BYTES, MOST_BYTES = quantity("128"), quantity("47Mi")
"""Of what is posted: the load tests make each payload its own by some bytes, and send it in one request."""
MOST_SECONDS = seconds("168h")
MOST_CELLS = 100
MOST_NEWCOMERS = 500

DATASETS = ("generated", "configMap", "persistentVolumeClaim", "url")

_SPEC: Path = ("spec",)
_TIME = r"[0-9.]+(ms|s|m|h)"
_UNITS = {
    "requests.rate": r"[0-9.]+(/s)?",
    "memory.max": r"[0-9.]+([KMG]i)?",
    "errors.ratio": r"[0-9.]+",
    "errors.count": r"[0-9.]+",
    "cpu.mean": r"[0-9.]+",
}
"""How the limit of a metric is written, where it is no time."""


def _within(read: Callable[[str], Fraction], text: str | None, least: Fraction, most: Fraction) -> bool:
    """Tell whether a text, if it is there and can be read, lies between two limits."""
    try:
        return text is None or least <= read(text) <= most
    except ValueError:
        return True


def _payload(size: str | None) -> bool:
    return _within(quantity, size, LEAST_BYTES, MOST_BYTES)


def _shorter(one: str, other: str) -> bool:
    try:
        return seconds(one) < seconds(other)
    except ValueError:
        return True


def _fits_its_metric(threshold: Any) -> bool:
    pattern = _UNITS.get(threshold["metric"], _TIME)
    limits = [threshold[side] for side in ("max", "min") if side in threshold]
    return all(re.fullmatch(pattern, limit) for limit in limits)


def _cells(matrix: Any) -> int:
    count = 1
    for field in ("regions", "peers", "payloadSizes"):
        count *= len(matrix[field]) if field in matrix else 1
    return count


def _partition_heals(spec: Any) -> bool:
    if "faults" not in spec or spec["profile"] != "partition":
        return True
    return _shorter(spec["faults"]["duration"], spec["faults"]["interval"])


RULES: Sequence[Rule] = (
    # duration(self.warmup) < duration(self.runTime)
    Rule(
        (*_SPEC, "warmup"),
        "warmup must be shorter than runTime",
        ((*_SPEC, "warmup"), (*_SPEC, "runTime")),
        lambda o: _shorter(o["spec"]["warmup"], o["spec"]["runTime"]),
    ),
    Rule(
        (*_SPEC, "payloadSize"),
        "either payloadSize or matrix.payloadSizes",
        ((*_SPEC, "payloadSize"), (*_SPEC, "matrix")),
        lambda o: "payloadSize" not in o["spec"] or "payloadSizes" not in o["spec"].get("matrix", {}),
    ),
    Rule(
        (*_SPEC, "profile"),
        "the evaluation posts archives of the data set as they are, payload sizes are for the other profiles",
        ((*_SPEC, "profile"), (*_SPEC, "payloadSize"), (*_SPEC, "matrix")),
        lambda o: (
            o["spec"]["profile"] != "evaluation"
            or ("payloadSize" not in o["spec"] and "payloadSizes" not in o["spec"].get("matrix", {}))
        ),
    ),
    Rule(
        (*_SPEC, "newcomers"),
        "newcomers are for the profile bootstrap alone",
        ((*_SPEC, "newcomers"), (*_SPEC, "profile")),
        lambda o: "newcomers" not in o["spec"] or o["spec"]["profile"] == "bootstrap",
    ),
    Rule(
        (*_SPEC, "faults"),
        "faults are for the profiles churn and partition alone",
        ((*_SPEC, "faults"), (*_SPEC, "profile")),
        lambda o: "faults" not in o["spec"] or o["spec"]["profile"] in {"churn", "partition"},
    ),
    Rule(
        (*_SPEC, "faults"),
        "the duration of a partition must be shorter than the interval",
        ((*_SPEC, "faults"), (*_SPEC, "profile")),
        lambda o: _partition_heals(o["spec"]),
    ),
    # duration(self) <= duration('168h')
    Rule(
        (*_SPEC, "runTime"),
        "at most 168h",
        ((*_SPEC, "runTime"),),
        lambda o: _within(seconds, o["spec"]["runTime"], Fraction(0), MOST_SECONDS),
    ),
    # quantity(self).compareTo(quantity('128')) >= 0 && quantity(self).compareTo(quantity('47Mi')) <= 0
    Rule(
        (*_SPEC, "payloadSize"),
        "between 128 and 47Mi",
        ((*_SPEC, "payloadSize"),),
        lambda o: _payload(o["spec"].get("payloadSize")),
    ),
    Rule(
        (*_SPEC, "matrix"),
        "at most 100 combinations",
        ((*_SPEC, "matrix"),),
        lambda o: _cells(o["spec"].get("matrix", {})) <= MOST_CELLS,
    ),
    Rule(
        (*_SPEC, "matrix", "payloadSizes"),
        "each between 128 and 47Mi",
        ((*_SPEC, "matrix"),),
        lambda o: all(_payload(size) for size in o["spec"].get("matrix", {}).get("payloadSizes", [])),
    ),
    Rule(
        (*_SPEC, "dataset"),
        "exactly one of generated, configMap, persistentVolumeClaim and url",
        ((*_SPEC, "dataset"),),
        lambda o: "dataset" not in o["spec"] or sum(kind in o["spec"]["dataset"] for kind in DATASETS) == 1,
    ),
    Rule(
        (*_SPEC, "dataset", "generated", "size"),
        "between 128 and 47Mi",
        ((*_SPEC, "dataset"),),
        lambda o: _payload(o["spec"].get("dataset", {}).get("generated", {}).get("size")),
    ),
    Rule(
        (*_SPEC, "thresholds"),
        "each threshold has either max or min",
        ((*_SPEC, "thresholds"),),
        lambda o: all(("max" in it) != ("min" in it) for it in o["spec"].get("thresholds", [])),
    ),
    Rule(
        (*_SPEC, "thresholds"),
        "a limit has the unit of its metric: times ms, s, m or h; requests.rate /s or none; "
        "memory.max Ki, Mi, Gi or none; errors and cpu none",
        ((*_SPEC, "thresholds"),),
        lambda o: all(_fits_its_metric(it) for it in o["spec"].get("thresholds", [])),
    ),
    # self.perWave * self.waves <= 500
    Rule(
        (*_SPEC, "newcomers"),
        "at most 500 newcomers in all",
        ((*_SPEC, "newcomers"),),
        lambda o: (
            "newcomers" not in o["spec"]
            or o["spec"]["newcomers"]["perWave"] * o["spec"]["newcomers"]["waves"] <= MOST_NEWCOMERS
        ),
    ),
    # has(self.tag) != has(self.digest)
    Rule(
        (*_SPEC, "image"),
        "exactly one of tag and digest",
        ((*_SPEC, "image"),),
        lambda o: (
            "image" not in o["spec"] or ("tag" in o["spec"]["image"]) != ("digest" in o["spec"]["image"])
        ),
    ),
)

TRANSITIONS: Sequence[Transition] = (
    Transition(
        _SPEC,
        "the spec is immutable once the benchmark has started, make another one",
        lambda new, old: "startTime" not in old.get("status", {}) or new["spec"] == old["spec"],
    ),
)
