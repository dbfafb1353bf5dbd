"""What a benchmark means for its load test: arguments, who is driven from where, who joins when. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peersdb_operator.benchmark import Benchmark
from peersdb_operator.cluster import Cluster
from peersdb_operator.members import Member, of_cluster

BOOTSTRAP, CHURN, PARTITION, EVALUATION = "bootstrap", "churn", "partition", "evaluation"

SLACK_SECONDS, SLACK_REPEAT_SECONDS, SLACK_WAVE_SECONDS = 1800, 300, 900
"""What a run may take beyond twice its times: for starting and for its results; for each repeat of each cell to settle;
for each wave of newcomers to catch up."""


@dataclass(frozen=True, slots=True)
class Workers:
    """The workers of one region.

    Attributes:
        region: where they run.
        drives: the regions whose members they drive.
        count: how many.
    """

    region: str
    drives: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A peer that joins in a wave.

    Attributes:
        region: where.
        index: its number among the region's newcomers, from 0.
    """

    region: str
    index: int


def arguments(benchmark: Benchmark) -> list[str]:
    """Give the arguments that master and workers have alike, but for the members and the data set."""
    words = ["--headless", "--profile", benchmark.profile, "--repeats", str(benchmark.repeats)]
    timed = benchmark.profile != EVALUATION  # which has one user, and ends when all is posted
    if timed:
        words += ["--users", str(benchmark.users), "--spawn-rate", str(benchmark.spawn_rate)]
    words += ["--rate", f"{benchmark.rate:g}"]
    if timed:
        words += ["--run-time", f"{benchmark.run_time:g}s", "--warmup", f"{benchmark.warmup:g}"]
    matrix = {
        "regions": benchmark.matrix.regions,
        "peers": benchmark.matrix.peers,
        "payloadSizes": benchmark.matrix.payload_sizes,
    }
    if any(matrix.values()):
        words += ["--matrix", json.dumps({name: values for name, values in matrix.items() if values})]
    if benchmark.payload_size is not None:
        words += ["--payload-size", str(benchmark.payload_size)]
    if benchmark.thresholds:
        limits = [
            {"metric": it.metric, "max" if it.is_max else "min": it.text} for it in benchmark.thresholds
        ]
        words += ["--thresholds", json.dumps(limits)]
    if benchmark.profile == BOOTSTRAP:
        words += ["--waves", str(benchmark.newcomers.waves), "--per-wave", str(benchmark.newcomers.per_wave)]
    return words


def dataset_arguments(benchmark: Benchmark, directory: str) -> list[str]:
    """Give the arguments of the data set, which lies in a directory unless it is generated or the default one."""
    if benchmark.dataset is None:
        return []
    if benchmark.dataset.kind == "generated":
        files, size = benchmark.dataset.files, benchmark.dataset.size
        return ["--generated-files", str(files), "--generated-size", str(size)]
    return ["--dataset", directory]


def workers(regions: Sequence[str], wanted: int) -> tuple[Workers, ...]:
    """Spread workers over regions: each gets one before any gets two; what has none is driven by the others.

    Args:
        regions: those that take part, at least one.
        wanted: how many workers; 0 means one for each region.
    """
    wanted = wanted or len(regions)
    if wanted < len(regions):
        return tuple(
            Workers(region, tuple(regions[number::wanted]), 1)
            for number, region in enumerate(regions[:wanted])
        )
    least, more = divmod(wanted, len(regions))
    return tuple(Workers(region, (region,), least + (number < more)) for number, region in enumerate(regions))


def newcomers(benchmark: Benchmark, regions: Sequence[str], wave: int) -> tuple[Newcomer, ...]:
    """List the newcomers of one wave, from 1: of one region in turn, or each of the next region."""
    size, spread = benchmark.newcomers.per_wave, benchmark.newcomers.order == "Spread"
    before: dict[str, int] = {}
    found: list[Newcomer] = []
    for number in range(size * wave):
        region = regions[(number if spread else number // size) % len(regions)]
        found.append(Newcomer(region, before.get(region, 0)))
        before[region] = found[-1].index + 1
    return tuple(found[size * (wave - 1) :])


def victims(cluster: Cluster, benchmark: Benchmark) -> list[Member]:
    """List the members that churn may take: of the region that is named, or of all; the root's last one never,
    for newcomers join through it.
    """
    return [
        member
        for member in of_cluster(cluster)
        if (not member.is_root or cluster.root.replicas > 1)
        and benchmark.faults.region in (None, member.group.region)
    ]


def victim(cluster: Cluster, benchmark: Benchmark, number: int) -> Member:
    """Choose whom churn takes at that turn (from 0): the regions in turn, and in each its members in turn."""
    by_region: dict[str, list[Member]] = {}
    for member in victims(cluster, benchmark):
        by_region.setdefault(member.group.region, []).append(member)
    regions = list(by_region.values())
    region = regions[number % len(regions)]
    return region[number // len(regions) % len(region)]


def longest(benchmark: Benchmark) -> float:
    """Give the seconds after which a run is broken off: well above what it should take."""
    repeats = benchmark.matrix.cells * benchmark.repeats
    waves = benchmark.newcomers.waves if benchmark.profile == BOOTSTRAP else 0
    measured = repeats * (2 * (benchmark.warmup + benchmark.run_time) + SLACK_REPEAT_SECONDS)
    return SLACK_SECONDS + measured + repeats * waves * SLACK_WAVE_SECONDS


@dataclass(frozen=True, slots=True)
class Progress:
    """How a run stands, by its master.

    Attributes:
        state: ``waiting`` for workers, ``running``, ``settling`` or ``done``.
        passed: once it is done, whether nothing went wrong and all thresholds were kept.
        stage: where it stands, in words.
        done: the part that is done, 0 to 1.
        expected: how many workers there should be.
        p50: of replication so far, in seconds, or None.
        p99: likewise.
        wave: the wave of newcomers that it waits for, from 1; 0: none.
        fault: whether faults are wanted now.
        problems: what went wrong, for people.
    """

    state: str = "waiting"
    passed: bool | None = None
    stage: str = ""
    done: float = 0.0
    users: int = 0
    workers: int = 0
    expected: int = 0
    requests: int = 0
    failures: int = 0
    p50: float | None = None
    p99: float | None = None
    wave: int = 0
    fault: bool = False
    problems: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Progress:
        """Read what ``GET /v1/progress`` answers.

        Raises:
            ValueError: it is no such thing.
        """
        try:
            wants, replication = value.get("wants") or {}, value.get("replication") or {}
            return cls(
                state=str(value["state"]),
                passed=value.get("passed"),
                stage=str(value.get("stage", "")),
                done=float(value.get("done", 0.0)),
                users=int(value.get("users", 0)),
                workers=int(value.get("workers", 0)),
                expected=int(value.get("expectedWorkers", 0)),
                requests=int(value.get("requests", 0)),
                failures=int(value.get("failures", 0)),
                p50=replication.get("p50"),
                p99=replication.get("p99"),
                wave=int(wants.get("wave", 0)),
                fault=bool(wants.get("fault", False)),
                problems=tuple(str(problem) for problem in value.get("problems", [])),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no progress: {error}") from error
