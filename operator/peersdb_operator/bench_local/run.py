"""One benchmark from its manifest to its results, on a cluster of this machine.

The load test asks for newcomers and faults by its progress; this makes them, and takes them back on any exit: each
process is a child that ends with its block, a killed member is its supervisor's to start again.
"""

from __future__ import annotations

import json
import secrets
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peersdb_operator import load
from peersdb_operator.bench_local import churn, dataset
from peersdb_operator.bench_local.control import HOST, Control
from peersdb_operator.bench_local.newcomers import Newcomers
from peersdb_operator.bench_local.processes import Child, Children, children, free_ports
from peersdb_operator.benchmark import Benchmark
from peersdb_operator.cluster import Cluster, from_object
from peersdb_operator.errors import BenchmarkError, ControlError, NoCluster, UsageError
from peersdb_operator.load import Progress
from peersdb_operator.local.commands import MOST_MEMBERS
from peersdb_operator.local.state import StateDir

POLL_SECONDS = 0.25
START_SECONDS = 60.0
"""From its start to a master's first answer: Python and its imports take seconds, on a busy machine many."""
SILENCE_SECONDS = 300.0
"""A master that draws the report of a long run answers nothing meanwhile."""
END_SECONDS = 30.0
"""From the word that its results are fetched to a master's end."""
MOST_RUNS = 10_000

RESULTS = "benchmarks"
"""Where results are kept in a cluster's directory, a folder for each run."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        passed: whether nothing went wrong and all thresholds were kept.
        directory: where its results are.
    """

    passed: bool
    directory: Path


Show = Callable[[Progress, str], None]
"""Told how the run stands, and what is done to the cluster right now."""


@dataclass(slots=True)
class Run:
    """One run.

    Attributes:
        benchmark: the manifest.
        state: the cluster's directory.
        command: the load test's program and what comes before its options.
        data: a directory of files in place of the manifest's data set.
        show: told how it stands.
        clock: the monotonic clock.
        wall: seconds since the epoch.
        sleep: waits some seconds.
    """

    benchmark: Benchmark
    state: StateDir
    command: Sequence[str]
    data: Path | None
    show: Show
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    _untold: list[dict[str, Any]] = field(default_factory=list)
    _note: str = ""

    def __call__(self, out: Path | None) -> Outcome:
        """Run it, with all other commands kept away from the cluster.

        Args:
            out: an empty or new directory for the results; by default one below the cluster's.

        Raises:
            OperatorError: it cannot be run, or broke.
        """
        if not self.state.exists():
            raise NoCluster(
                f"no cluster was started in {self.state.path}: start it with `peersdb-operator local up -f FILE`"
            )
        with self.state.lock_commands():
            cluster, members = self._cluster()
            self._check(cluster)
            directory = results_directory(self.state, self.benchmark.name, out)
            with (
                tempfile.TemporaryDirectory(prefix="peersdb-benchmark-") as work,
                children() as started,
            ):
                return self._run(cluster, members, directory, Path(work), started)

    def _cluster(self) -> tuple[Cluster, list[dict[str, Any]]]:
        """Give the cluster that runs, and its members as the load test reads them."""
        desired, seen = self.state.desired(), self.state.status()
        if desired.applied is None or seen is None or self.state.supervisor() is None:
            raise NoCluster("the cluster is down: start it with `peersdb-operator local up -f FILE`")
        cluster = from_object(desired.applied)
        if cluster.name != self.benchmark.cluster:
            raise UsageError(
                f"spec.clusterRef names {self.benchmark.cluster!r}, and {self.state.path} is the directory of"
                f" {cluster.name!r}: give the right one by --dir or --cluster"
            )
        rows = [row for row in seen["local"]["members"] if "role" in row]
        unready = [row["name"] for row in rows if not row["ready"]]
        if unready:
            raise BenchmarkError(
                f"not ready: {', '.join(unready)}; wait until `peersdb-operator local status` says Ready"
            )
        return cluster, [churn.target(row) for row in rows]

    def _check(self, cluster: Cluster) -> None:
        """Refuse what this machine cannot do, before anything is started."""
        if self.benchmark.profile == load.PARTITION:
            raise BenchmarkError(
                "the profile partition needs a network between regions, and processes of one machine have none:"
                " run it on Kubernetes"
            )
        if self.benchmark.profile == load.CHURN:
            churn.check(cluster, self.benchmark)
        if self.benchmark.profile == load.BOOTSTRAP:
            newcomers = self.benchmark.newcomers.per_wave * self.benchmark.newcomers.waves
            members = sum(group.replicas for group in cluster.groups)
            if newcomers + members > MOST_MEMBERS:
                raise BenchmarkError(
                    f"{members} members and {newcomers} newcomers are too many for one machine:"
                    f" at most {MOST_MEMBERS}, use Kubernetes for more"
                )
        dataset.check(self.benchmark, self.data)

    def _run(
        self, cluster: Cluster, members: list[dict[str, Any]], out: Path, work: Path, started: Children
    ) -> Outcome:
        regions = list(dict.fromkeys(member["region"] for member in members))
        if self.benchmark.profile == load.BOOTSTRAP:
            regions = list(dict.fromkeys(group.region for group in cluster.groups))
        logs = out / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        master, control = self._start(regions, members, logs, work, started)
        joining = Newcomers(
            self.benchmark, cluster, regions, self.state, started, work / "newcomers", logs, self.wall
        )
        faults = churn.Churn(cluster, self.benchmark, self.state, self.wall)
        progress = self._drive(master, control, joining, faults)
        joining.end()
        return self._collect(progress, master, control, out)

    def _start(
        self,
        regions: Sequence[str],
        members: list[dict[str, Any]],
        logs: Path,
        work: Path,
        started: Children,
    ) -> tuple[Child, Control]:
        """Start the master and the workers."""
        token = secrets.token_urlsafe(32)
        token_file, targets = work / "token", work / "targets.json"
        token_file.touch(mode=0o600)
        token_file.write_text(token, encoding="ascii")
        targets.write_text(json.dumps({"members": members}), encoding="utf-8")
        locust_port, control_port = free_ports(2)
        groups = load.workers(regions, self.benchmark.workers)
        common = [
            *self.command,
            *load.arguments(self.benchmark),
            *dataset.arguments(self.benchmark, self.data, work / "dataset"),
            *("--targets", str(targets)),
        ]
        as_master = ["--master", "--master-bind-host", HOST, "--master-bind-port", str(locust_port)]
        as_master += ["--expect-workers", str(sum(group.count for group in groups))]
        as_master += ["--control", f"{HOST}:{control_port}", "--control-token-file", str(token_file)]
        as_master += ["--report", str(work / "results")]
        master = started.start("the load test's master", [*common, *as_master], logs / "master.log", work)
        as_worker = ["--worker", "--master-host", HOST, "--master-port", str(locust_port)]
        for group in groups:
            for number in range(group.count):
                name = f"worker-{group.region}-{number}"
                command = [*common, *as_worker, "--region", ",".join(group.drives)]
                started.start(name, command, logs / f"{name}.log", work)
        return master, Control(control_port, token)

    def _drive(self, master: Child, control: Control, joining: Newcomers, faults: churn.Churn) -> Progress:
        """Do what the load test asks for until it is done."""
        began = heard = self.clock()
        answered = False
        while True:
            if master.code() is not None:
                raise BenchmarkError(
                    master.last_words(
                        f"the load test ended with code {master.code()} before its results were there"
                    )
                )
            now = self.clock()
            if now - began > load.longest(self.benchmark):
                raise BenchmarkError(f"the load test is not done after {now - began:.0f} s")
            try:
                progress = control.progress()
            except ControlError as error:
                if self.clock() - heard > (SILENCE_SECONDS if answered else START_SECONDS):
                    raise BenchmarkError(master.last_words(str(error))) from error
                self.sleep(POLL_SECONDS)
                continue
            heard, answered = self.clock(), True
            if progress.state == "done":
                self.show(progress, "")
                return progress
            self._tend(progress, control, joining, faults)
            self.sleep(POLL_SECONDS)

    def _tend(self, progress: Progress, control: Control, joining: Newcomers, faults: churn.Churn) -> None:
        """Make what is wanted now, and tell what was done; what cannot be told is told again."""
        if self.benchmark.profile == load.BOOTSTRAP:
            self._untold += joining.tend(progress.wave)
            self._note = f"{joining.count} newcomers"
        if self.benchmark.profile == load.CHURN:
            self._untold += faults.tend(self.clock(), wanted=progress.fault)
            self._note = f"{', '.join(faults.down)} down" if faults.down else ""
        self.show(progress, self._note)
        while self._untold:
            try:
                control.tell(self._untold[0])
            except ControlError:
                return
            del self._untold[0]

    def _collect(self, progress: Progress, master: Child, control: Control, out: Path) -> Outcome:
        """Fetch the results, and let the master end."""
        for name in control.listing():
            control.fetch(name, out / name)
        control.collected()
        deadline = self.clock() + END_SECONDS
        while master.code() is None and self.clock() < deadline:
            self.sleep(POLL_SECONDS)
        return Outcome(passed=progress.passed is True and master.code() == 0, directory=out)


def results_directory(state: StateDir, name: str, out: Path | None) -> Path:
    """Give the directory of a run's results: the one that is asked for, or the next free one of its name.

    Raises:
        UsageError: it holds something.
        BenchmarkError: it cannot be made.
    """
    directory = out.absolute() if out is not None else _next_free(state.path / RESULTS, name)
    try:
        if directory.exists() and any(directory.iterdir()):
            raise UsageError(f"{directory} is not empty: give --out a new directory")
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchmarkError(f"{directory} cannot be made: {error.strerror}") from error
    return directory


def runs(state: StateDir, name: str) -> list[Path]:
    """List the results of all runs of a benchmark on a cluster of this machine, the oldest first."""
    return [path for path in _candidates(state.path / RESULTS, name) if path.exists()]


def _next_free(base: Path, name: str) -> Path:
    return next(path for path in _candidates(base, name) if not path.exists())


def _candidates(base: Path, name: str) -> list[Path]:
    count = sum(1 for _ in base.glob(f"{name}*")) if base.exists() else 0
    return [
        base / (name if number == 1 else f"{name}.{number}") for number in range(1, min(count + 2, MOST_RUNS))
    ]
