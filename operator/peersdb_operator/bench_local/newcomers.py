"""The newcomers of the profile ``bootstrap``: nodes with temporary repos that join the cluster, wave by wave."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from peersdb_operator import load
from peersdb_operator.bench_local.processes import Child, Children, free_ports
from peersdb_operator.benchmark import Benchmark
from peersdb_operator.cluster import Cluster, Group
from peersdb_operator.errors import BenchmarkError
from peersdb_operator.local.state import StateDir
from peersdb_operator.local.view import HOST
from peersdb_operator.members import node_arguments

ROLE = "peer"


@dataclass(slots=True)
class Newcomers:
    """Starts each wave that the load test asks for.

    Attributes:
        benchmark: whose they are.
        cluster: what they join.
        regions: those that they join in, in turn.
        state: the cluster's directory.
        children: keeps their processes.
        directory: where their repos are.
        logs: where their output goes.
        wall: seconds since the epoch.
    """

    benchmark: Benchmark
    cluster: Cluster
    regions: Sequence[str]
    state: StateDir
    children: Children
    directory: Path
    logs: Path
    wall: Callable[[], float]
    wave: int = 0
    _running: list[Child] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many there are now."""
        return len(self._running)

    def tend(self, wave: int) -> list[dict[str, Any]]:
        """Start the newcomers of a wave that is asked for, once; gives what the load test is told.

        Args:
            wave: the one that the load test waits for; 0: none.

        Raises:
            BenchmarkError: one ended, or cannot be started.
        """
        for child in self._running:
            if child.code() is not None:
                raise BenchmarkError(child.last_words(f"{child.name} ended with code {child.code()}"))
        if wave in (0, self.wave):
            return []
        if wave < self.wave:  # another repeat begins with nobody but the cluster
            self.end()
        at = self.wall()
        members = [self._start(newcomer) for newcomer in load.newcomers(self.benchmark, self.regions, wave)]
        self.wave = wave
        return [{"kind": "wave", "at": at, "wave": wave, "region": members[0]["region"], "members": members}]

    def end(self) -> None:
        """End all of them, and forget what they had."""
        self.children.end(self._running)
        self._running = []
        self.wave = 0
        shutil.rmtree(self.directory, ignore_errors=True)

    def _start(self, newcomer: load.Newcomer) -> dict[str, str]:
        name = f"{newcomer.region}-new-{newcomer.index}"
        home = self.directory / name
        (home / "downloads").mkdir(parents=True)
        http_port, p2p_port = free_ports(2)
        memory = self.state.memory()
        roots = [f"{HOST}:{memory.members[f'root-{n}'].http_port}" for n in range(self.cluster.root.replicas)]
        command = [
            *self.state.desired().node_command,
            *node_arguments(
                self.cluster,
                self._group(newcomer.region),
                host=HOST,
                http_port=http_port,
                libp2p_port=p2p_port,
                repo=str(home / "repo"),
                downloads=f"{home / 'downloads'}/",
                bootstrap=roots,
            ),
            *(("-store", memory.store) if memory.store else ()),
        ]
        self._running.append(self.children.start(name, command, self.logs / f"{name}.log", home))
        return {"name": name, "http": f"http://{HOST}:{http_port}", "region": newcomer.region, "role": ROLE}

    def _group(self, region: str) -> Group:
        like = next((group for group in self.cluster.regions if group.region == region), self.cluster.root)
        return replace(like, is_root=False)
