"""What a cluster is told: its regions, its addresses and where it keeps what it runs on. The only reader of the
environment.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cluster import versions
from cluster.errors import NoCluster, Refused

CONSENT = "PEERSDB_E2E"
REGIONS = "PEERSDB_E2E_REGIONS"
STATE = "PEERSDB_E2E_STATE"
INSTANCE = "PEERSDB_E2E_INSTANCE"
BLOCK = "PEERSDB_E2E_BLOCK"

#: Those of deploy/samples/quickstart.yaml.
DEFAULT_REGIONS = ("europe-west3", "us-central1", "asia-east2")
#: Fewer than three regions have no majority; more than six real kubelets do not fit a small machine.
FEWEST_REGIONS, MOST_REGIONS = 3, 6
#: Interfaces are named after the instance, and Linux gives them 15 characters.
MOST_INSTANCE = 8
#: A node hides the machine's directories of these names behind its own, so its state may not be in them.
HIDDEN = (Path("/var/lib"), Path("/var/log"), Path("/run"))

_SETTINGS_FILE = "settings.json"


@dataclass(frozen=True)
class Addresses:
    """A cluster's addresses: a /14 of 10.0.0.0/8, of which nodes, Services and pods have a /16 each.

    Attributes:
        block: second byte of the /14, a multiple of four.
    """

    block: int = 100

    @property
    def all(self) -> str:
        """Everything that is the cluster's."""
        return f"10.{self.block}.0.0/14"

    @property
    def services(self) -> str:
        """The range of Services."""
        return f"10.{self.block + 1}.0.0/16"

    @property
    def pods(self) -> str:
        """The range of all pods."""
        return f"10.{self.block + 2}.0.0/16"

    @property
    def api(self) -> str:
        """The API server."""
        return f"10.{self.block}.0.1"

    @property
    def kubernetes_service(self) -> str:
        """The first address of Services: ``kubernetes.default``."""
        return f"10.{self.block + 1}.0.1"

    @property
    def dns(self) -> str:
        """The name server, as pods know it."""
        return f"10.{self.block + 1}.0.10"

    @property
    def machine(self) -> str:
        """This machine's end of its line to the cluster."""
        return f"10.{self.block}.255.1"

    @property
    def uplink(self) -> str:
        """The cluster's end of that line."""
        return f"10.{self.block}.255.2"

    def node(self, index: int) -> str:
        """A node's address."""
        return f"10.{self.block}.{index}.2"

    def gateway(self, index: int) -> str:
        """The other end of a node's line."""
        return f"10.{self.block}.{index}.1"

    def node_pods(self, index: int) -> str:
        """The range of a node's pods."""
        return f"10.{self.block + 2}.{index}.0/24"

    def place(self, index: int) -> tuple[str, str]:
        """All of a node: its own range and its pods'."""
        return f"10.{self.block}.{index}.0/24", self.node_pods(index)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One cluster.

    Attributes:
        state: its directory; removed by ``down``.
        regions: their names; each has one node.
        instance: tells clusters of one machine apart: names of interfaces and cgroups start with it.
        addresses: its share of private addresses.
    """

    state: Path
    regions: tuple[str, ...] = DEFAULT_REGIONS
    instance: str = "e2e"
    addresses: Addresses = Addresses()

    def __post_init__(self) -> None:
        """Check.

        Raises:
            Refused: with what to do.
        """
        if not FEWEST_REGIONS <= len(self.regions) <= MOST_REGIONS:
            raise Refused(
                f"{len(self.regions)} regions: a cluster here has {FEWEST_REGIONS} to {MOST_REGIONS} (set {REGIONS})"
            )
        for region in self.regions:
            if not re.fullmatch(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", region):
                raise Refused(f"region {region!r} is no DNS label of at most 40 characters (set {REGIONS})")
        if len(set(self.regions)) < len(self.regions):
            raise Refused(f"regions {', '.join(self.regions)} are not all different (set {REGIONS})")
        if not re.fullmatch(rf"[a-z][a-z0-9]{{0,{MOST_INSTANCE - 1}}}", self.instance):
            raise Refused(
                f"instance {self.instance!r} is not up to {MOST_INSTANCE} letters and digits (set {INSTANCE})"
            )
        if self.addresses.block % 4 or not 0 <= self.addresses.block <= 252:
            raise Refused(f"10.{self.addresses.block}.0.0 begins no /14: set {BLOCK} to a multiple of 4")
        if any(self.state.is_relative_to(hidden) for hidden in HIDDEN):
            raise Refused(f"{self.state} is hidden in a node, as all of {HIDDEN}: set {STATE} elsewhere")
        if re.search(r"[\s,:\\'\"]", str(self.state)):
            raise Refused(f"{self.state!s:.100} has characters that mount options cannot carry: set {STATE}")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read what the environment says of the cluster to start.

        Several clusters run side by side if each has an instance and a block of addresses of its own.
        """
        regions = tuple(name.strip() for name in environment.get(REGIONS, "").split(",") if name.strip())
        instance = environment.get(INSTANCE) or "e2e"
        state = environment.get(STATE)
        block = environment.get(BLOCK) or str(Addresses.block)
        if not block.isdigit():
            raise Refused(f"{BLOCK}={block} is no number: it is the second byte of 10.0.0.0/14")
        return cls(
            state=Path(state).absolute() if state else versions.cache_root() / "run" / instance,
            regions=regions or DEFAULT_REGIONS,
            instance=instance,
            addresses=Addresses(int(block)),
        )

    @classmethod
    def saved(cls, state: Path) -> Self:
        """Read the settings that a cluster was started with.

        Raises:
            NoCluster: there is none.
        """
        try:
            kept = json.loads((state / _SETTINGS_FILE).read_text())
        except FileNotFoundError:
            raise NoCluster(f"no cluster in {state}: start one with `{CONSENT}=1 make cluster-up`") from None
        return cls(
            state=state,
            regions=tuple(kept["regions"]),
            instance=kept["instance"],
            addresses=Addresses(kept["block"]),
        )

    def save(self) -> None:
        """Keep them for later commands."""
        self.state.mkdir(parents=True, exist_ok=True)
        kept = {"regions": self.regions, "instance": self.instance, "block": self.addresses.block}
        (self.state / _SETTINGS_FILE).write_text(json.dumps(kept))

    @property
    def kubeconfig(self) -> Path:
        """An administrator's, for this machine."""
        return self.state / "kubeconfig"

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.state / "pki"

    @property
    def host_interface(self) -> str:
        """This machine's end of its line to the cluster."""
        return f"{self.instance}-host"

    def index(self, region: str) -> int:
        """Number a region's node, from 1.

        Raises:
            NoCluster: there is no such region.
        """
        try:
            return self.regions.index(region) + 1
        except ValueError:
            raise NoCluster(f"no region {region!r} here: {', '.join(self.regions)}") from None

    def node_name(self, region: str) -> str:
        """Name a region's node."""
        return f"node-{region}"

    def interface(self, region: str) -> str:
        """Name the control plane's end of a node's line."""
        return f"{self.instance}-{self.index(region)}"

    def cgroup(self, region: str) -> str:
        """Name the cgroup that a node's pods lie under."""
        return f"peersdb-{self.instance}-{self.index(region)}"
