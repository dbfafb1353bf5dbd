"""One cluster: what the command line and tests use."""

from __future__ import annotations

import concurrent.futures
import contextlib
import string
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from cluster import containerd, golang, images, network, prerequisites, project_images, simulated, versions
from cluster.api_faults import FaultyApi
from cluster.api_redirect import redirected
from cluster.commands import step, wait_for
from cluster.control_plane import ControlPlane
from cluster.errors import NoCluster
from cluster.kubectl import Kubectl
from cluster.latency import Latency
from cluster.lock import locked
from cluster.node import Node
from cluster.partition import Partition
from cluster.settings import CONSENT, Settings

MANIFESTS = Path(__file__).parent / "manifests"
#: A cluster is up within 15 s on a quiet machine.
READY_TIMEOUT = 300.0


class Harness:
    """A cluster on this machine.

    Attributes:
        settings: what it was told.
        control: its control plane.
        nodes: the node of each region.
        partition: cuts lines between its regions.
        latency: delays what passes between its regions.
        kubectl: runs kubectl as an administrator.
        binaries: the directory of the programs, kubectl among them.
    """

    def __init__(self, settings: Settings) -> None:
        """Find the cluster; it runs or not as it did. `up` starts it, `attach` finds a running one."""
        self.settings = settings
        self.binaries = golang.programs(golang.ALL_PROGRAMS)
        self.control = ControlPlane(settings)
        self.nodes = {region: Node(settings, self.control, region) for region in settings.regions}
        self.partition = Partition(settings, self.control.machine)
        self.latency = Latency(settings, self.control.machine, self.binaries)
        self.kubectl = Kubectl(settings.kubeconfig, self.binaries / "kubectl")

    @classmethod
    def up(cls, settings: Settings, *, project: bool = True) -> Self:
        """Build what was never built, start what does not run; returns when all is ready.

        Args:
            settings: what it is told.
            project: whether the nodes get the project's own images, of the sources as they are now.

        Raises:
            Refused: not on this machine, or not without the user's word.
            HarnessError: it did not get ready.
        """
        prerequisites.check()
        prerequisites.announce(settings)
        with locked(settings.state):
            with locked(versions.cache_root() / "build"):
                prerequisites.install()
                golang.build()
                archives = images.build()
                if project:
                    archives += [project_images.build(name) for name in project_images.IMAGES]
                harness = cls(settings)
                harness._install(archives)
            network.check(settings)
            settings.save()
            harness._start(archives)
        return harness

    @classmethod
    def attach(cls, state: Path) -> Self:
        """Find the cluster that runs from a directory.

        Raises:
            NoCluster: none does.
        """
        harness = cls(Settings.saved(state))
        if not harness.control.machine.on:
            raise NoCluster(f"the cluster of {state} does not run: `{CONSENT}=1 make cluster-up`")
        return harness

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions, each with a node."""
        return self.settings.regions

    def node(self, region: str) -> Node:
        """Give the node of a region.

        Raises:
            NoCluster: there is no such region.
        """
        self.settings.index(region)
        return self.nodes[region]

    def heal(self) -> None:
        """End all faults of the network, and start what was stopped or is without power."""
        self.partition.heal()
        self.latency.clear()
        self.control.start_apiserver()
        self._everywhere(lambda node: node.start())
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until all nodes are ready."""
        wait_for(lambda: all(map(self.node_ready, self.regions)), "all nodes are ready", READY_TIMEOUT)

    def faulty_api(self, pods: Sequence[str] = ()) -> contextlib.AbstractContextManager[FaultyApi]:
        """Lead requests of pods, by their addresses or of all, through a proxy that makes faults, in a ``with``."""
        return redirected(self.settings, self.control, pods)

    def simulate_nodes(self, count: int) -> None:
        """Add so many simulated nodes, spread over the regions; see `simulated`."""
        argv = simulated.kwok(self.binaries / "kwok", self.settings.kubeconfig, self.settings.addresses.api)
        self.control.machine.spawn("kwok", argv)
        self.kubectl.apply(*simulated.nodes(count, self.regions))

    def remove_simulated_nodes(self) -> None:
        """Take all simulated nodes away."""
        self.kubectl("delete", "nodes", "--selector=type=kwok", "--wait=true")
        self.control.machine.stop("kwok")

    def load_image(self, archive: Path, regions: Sequence[str] = ()) -> None:
        """Load an archive of images into the nodes of some regions; of all by default."""
        self._everywhere(lambda node: node.containerd.load(archive), regions)

    def node_ready(self, region: str) -> bool:
        """Whether the API server counts a region's node as ready."""
        conditions = self.kubectl.json("get", "node", self.node(region).name)["status"]["conditions"]
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    def _install(self, archives: Sequence[Path]) -> None:
        disk = containerd.disk(archives)
        for node in self.nodes.values():
            node.install(disk)

    def _start(self, archives: Sequence[Path]) -> None:
        with step("control plane"):
            if not self.control.machine.on:
                self.control.start()
        with step(f"{len(self.nodes)} nodes"):
            self._everywhere(lambda node: node.start(archives))
            self._apply_components()
            self.wait_ready()
        with step("names and volumes"):
            wait_for(self._components_ready, "name servers and volumes are ready", READY_TIMEOUT)

    def _everywhere(self, act: Callable[[Node], None], regions: Sequence[str] = ()) -> None:
        nodes = [self.node(region) for region in regions or self.regions]
        with concurrent.futures.ThreadPoolExecutor(len(nodes)) as pool:
            for _ in pool.map(act, nodes):
                pass

    def _apply_components(self) -> None:
        for file in sorted(MANIFESTS.glob("*.yaml")):
            text = string.Template(file.read_text()).safe_substitute(DNS=self.settings.addresses.dns)
            self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)

    def _components_ready(self) -> bool:
        names = self.kubectl.json("get", "daemonset", "coredns", "--namespace=kube-system")["status"]
        volumes = self.kubectl.json(
            "get", "deployment", "local-path-provisioner", "--namespace=local-path-storage"
        )["status"]
        return bool(names.get("numberReady") == len(self.nodes) and volumes.get("readyReplicas") == 1)
