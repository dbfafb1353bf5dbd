"""A benchmark's manifest as typed, frozen values; every fault of one that is refused. Pure.

``parse`` gives the verdict that an API server with this CRD would give, as ``cluster.parse`` does for a cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from peersdb_operator import __version__, rules
from peersdb_operator.benchmark_rules import DATASETS, RULES, TRANSITIONS
from peersdb_operator.definition import BENCHMARK, with_defaults
from peersdb_operator.manifest import Image, Reader

IMAGE = Image("peersdb/loadtests", __version__, None, "IfNotPresent", ())
"""The load tests that were released with this operator."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """What is varied; every combination is a cell, an empty list means the cluster or the manifest as it is.

    Attributes:
        regions: how many regions take part, the first ones.
        peers: how many members of each, the first ones.
        payload_sizes: bytes.
    """

    regions: tuple[int, ...]
    peers: tuple[int, ...]
    payload_sizes: tuple[int, ...]

    @property
    def cells(self) -> int:
        """How many combinations there are."""
        return max(1, len(self.regions)) * max(1, len(self.peers)) * max(1, len(self.payload_sizes))


@dataclass(frozen=True, slots=True)
class Dataset:
    """The files that are posted.

    Attributes:
        kind: ``generated``, ``configMap``, ``persistentVolumeClaim`` or ``url``; only its fields are filled in.
        files: how many are generated.
        size: bytes of each of them.
        name: of the ConfigMap or the claim.
        path: a folder of the claim; empty means all of it.
        url: of a file or an archive.
        sha256: what its bytes must hash to, in hexadecimal.
    """

    kind: str
    files: int = 0
    size: int = 0
    name: str = ""
    path: str = ""
    url: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Threshold:
    """What a figure must keep.

    Attributes:
        metric: the figure's name.
        limit: in seconds, bytes, a second, or a plain number, by the metric.
        is_max: whether the figure may be at most that, or must be at least that.
        text: the limit as it was written.
    """

    metric: str
    limit: float
    is_max: bool
    text: str


@dataclass(frozen=True, slots=True)
class Newcomers:
    """The peers that join under the profile ``bootstrap``.

    Attributes:
        order: ``Region``: wave k in region k modulo their number; ``Spread``: each wave over all regions.
    """

    per_wave: int
    waves: int
    order: str


@dataclass(frozen=True, slots=True)
class Faults:
    """What is broken under ``churn`` and ``partition``.

    Attributes:
        interval: seconds from one fault to the next.
        duration: seconds that a region is cut off.
        region: where; None means the cluster's last region.
    """

    interval: float
    duration: float
    region: str | None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One valid manifest, all defaults filled in.

    Attributes:
        namespace: the manifest's, or None where the tool that applies it decides.
        labels: the manifest's own labels.
        cluster: the name of the cluster, of the same namespace.
        rate: requests a second of each user.
        run_time: seconds of one repeat of one cell.
        warmup: seconds at its beginning that are left out.
        workers: load pods; 0 means one for each region.
        payload_size: bytes; None means the files as they are.
        dataset: None means the image's own.
        results_claim: the claim that results are written to; None means a ConfigMap.
        resources: requests and limits of a load pod by resource; empty means the builder's default.
        ttl: seconds after its end that it is deleted; None means never.
        manifest: the whole object after defaulting.
        written: the whole object as it was written.
    """

    name: str
    namespace: str | None
    labels: Mapping[str, str]
    cluster: str
    profile: str
    users: int
    spawn_rate: int
    rate: float
    run_time: float
    warmup: float
    repeats: int
    workers: int
    payload_size: int | None
    matrix: Matrix
    dataset: Dataset | None
    thresholds: tuple[Threshold, ...]
    newcomers: Newcomers
    faults: Faults
    results_claim: str | None
    image: Image
    resources: Mapping[str, Mapping[str, Any]]
    ttl: int | None
    manifest: Mapping[str, Any]
    written: Mapping[str, Any]


def _benchmark(filled: dict[str, Any], value: Mapping[str, Any]) -> Benchmark:
    spec, metadata = filled["spec"], filled["metadata"]
    newcomers, faults = _part(spec, "newcomers"), _part(spec, "faults")
    return Benchmark(
        name=metadata["name"],
        namespace=metadata.get("namespace"),
        labels=metadata.get("labels") or {},
        cluster=spec["clusterRef"]["name"],
        profile=spec["profile"],
        users=int(spec["users"]),
        spawn_rate=int(spec["spawnRate"]),
        rate=float(spec["rate"]),
        run_time=float(rules.seconds(spec["runTime"])),
        warmup=float(rules.seconds(spec["warmup"])),
        repeats=int(spec["repeats"]),
        workers=int(spec["workers"]),
        payload_size=int(rules.quantity(spec["payloadSize"])) if "payloadSize" in spec else None,
        matrix=_matrix(spec.get("matrix", {})),
        dataset=_dataset(spec["dataset"]) if "dataset" in spec else None,
        thresholds=tuple(_threshold(it) for it in spec.get("thresholds", [])),
        newcomers=Newcomers(int(newcomers["perWave"]), int(newcomers["waves"]), newcomers["order"]),
        faults=Faults(
            float(rules.seconds(faults["interval"])),
            float(rules.seconds(faults["duration"])),
            faults.get("region"),
        ),
        results_claim=spec["results"]["persistentVolumeClaim"] if "results" in spec else None,
        image=Image.of(spec["image"]) if "image" in spec else IMAGE,
        resources={key: amounts for key, amounts in spec.get("resources", {}).items() if amounts},
        ttl=spec.get("ttlSecondsAfterFinished"),
        manifest=filled,
        written=value,
    )


def _part(spec: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    """Give a part of the spec, or where it is absent, what its fields have by default."""
    node = BENCHMARK.schema()["properties"]["spec"]["properties"][field]
    filled: Mapping[str, Any] = with_defaults(spec.get(field, {}), node)
    return filled


def _matrix(spec: Mapping[str, Any]) -> Matrix:
    return Matrix(
        tuple(int(count) for count in spec.get("regions", [])),
        tuple(int(count) for count in spec.get("peers", [])),
        tuple(int(rules.quantity(size)) for size in spec.get("payloadSizes", [])),
    )


def _dataset(spec: Mapping[str, Any]) -> Dataset:
    (kind,) = (kind for kind in DATASETS if kind in spec)
    fields = dict(spec[kind])
    if "size" in fields:
        fields["size"] = int(rules.quantity(fields["size"]))
    return Dataset(kind, **fields)


def _threshold(spec: Mapping[str, Any]) -> Threshold:
    is_max = "max" in spec
    text = spec["max"] if is_max else spec["min"]
    return Threshold(spec["metric"], _limit(text), is_max, text)


def _limit(text: str) -> float:
    """Read a limit by its unit: seconds of a time, bytes of a size, a second of a rate."""
    if text.endswith(("s", "m", "h")) and not text.endswith("/s"):
        return float(rules.seconds(text))
    return float(rules.quantity(text.removesuffix("/s")))


READER = Reader(BENCHMARK, RULES, TRANSITIONS, _benchmark)
read, parse, from_object = READER.read, READER.parse, READER.from_object
object_faults, check_change = READER.object_faults, READER.check_change
