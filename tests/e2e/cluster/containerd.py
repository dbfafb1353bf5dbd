"""containerd on one machine: its images are the node's."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from cluster import prerequisites, versions
from cluster.commands import run, step, wait_for
from cluster.errors import CommandFailed
from cluster.machine import Machine

DISK = "/var/lib/containerd"
PAUSE_IMAGE = "localhost/peersdb-e2e/pause:3.10"
SERVICE = "containerd"

#: So many disks are kept, for clusters of other sources: what they have in common takes its space once.
KEPT = 3
#: The file of a disk that names the archives whose images are on it.
_LIST = "archives.txt"

#: containerd answers within half a second of its start.
START_TIMEOUT = 60.0
#: Importing and unpacking 300 MB takes a few seconds.
IMPORT_TIMEOUT = 300.0

#: oom_score_adj can only be lowered with a capability that root in a container may not have.
_CONFIGURATION = """\
version = 2
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


class Containerd:
    """The containerd of one machine, which has `DISK` among its disks."""

    def __init__(self, machine: Machine) -> None:
        """Name it; it runs or not as it did."""
        self._machine = machine

    @property
    def networks(self) -> Path:
        """The directory of the configuration of pods' networks."""
        return self._machine.directory / "cni"

    def start(self) -> None:
        """Start it, unless it runs; returns when it answers."""
        self.networks.mkdir(parents=True, exist_ok=True)
        file = self._machine.directory / "containerd.toml"
        plugins = prerequisites.cni_directory()
        file.write_text(_CONFIGURATION.format(pause=PAUSE_IMAGE, cni=self.networks, plugins=plugins))
        self._machine.spawn(SERVICE, ["containerd", "--config", str(file), "--log-level", "warn"])
        wait_for(lambda: self("version"), f"containerd on {self._machine.name}", START_TIMEOUT)

    def stop(self) -> None:
        """Stop it; containers go on."""
        self._machine.stop(SERVICE)

    def __call__(self, *arguments: str, timeout: float = 120.0) -> str:
        """Run its client where the kubelet's images and containers are."""
        return self._machine.run("ctr", "--namespace", "k8s.io", *arguments, timeout=timeout)

    def load(self, *archives: Path) -> None:
        """Import the images of those archives that were not imported yet."""
        file = self._machine.disk(DISK) / _LIST
        known = file.read_text().splitlines() if file.exists() else []
        for archive in archives:
            if _identity(archive) not in known:
                self("images", "import", str(archive), timeout=IMPORT_TIMEOUT)
                known.append(_identity(archive))
        file.unlink(missing_ok=True)  # it may be a link to that of the disk before
        file.write_text("\n".join(known))

    def forget(self, image: str) -> None:
        """Forget an image; containers that run keep it. Any archive may bring it again."""
        self("images", "rm", "--sync", image)
        (self._machine.disk(DISK) / _LIST).unlink(missing_ok=True)

    def images(self) -> list[str]:
        """Name the images it has."""
        return self("images", "ls", "-q").split()


def disk(archives: Sequence[Path]) -> Path:
    """Give a disk with some images on it, to be copied by `copy`: they are imported once, not once for each node.

    It is made of the one before, so that of a new version of an image only the layers that changed are unpacked.
    """
    home = versions.cache_root() / "disks"
    key = versions.digest(_CONFIGURATION.encode(), *(_identity(archive).encode() for archive in archives))
    kept = home / key
    if kept.exists():
        return kept
    before = max(home.glob(f"*/{_LIST}"), key=lambda file: file.stat().st_mtime, default=None)
    with step("a disk with the nodes' images"), _scratch(home) as machine:
        if before:
            copy(before.parent, machine.disk(DISK))
        machine.power_on([DISK])
        containerd = Containerd(machine)
        containerd.start()
        containerd.load(*archives)
        containerd.stop()
        machine.power_off()
        machine.disk(DISK).rename(kept)
        lists = sorted(home.glob(f"*/{_LIST}"), key=lambda file: -file.stat().st_mtime)
        for old in lists[KEPT:]:  # nodes have links of their own to what they still use
            shutil.rmtree(old.parent)
    return kept


def _identity(archive: Path) -> str:
    facts = archive.stat()
    return f"{archive} {facts.st_size} {facts.st_mtime_ns}"


def copy(source: Path, target: Path) -> None:
    """Copy a disk that `disk` made.

    Files are shared by links: layers and their contents are never changed, only added and removed. The databases
    are, and so copied.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        run(["cp", "-a", "--link", str(source), str(target)])
    except CommandFailed:  # the state lies on another file system
        shutil.rmtree(target, ignore_errors=True)
        run(["cp", "-a", str(source), str(target)])
        return
    for database in source.rglob("*.db"):
        linked = target / database.relative_to(source)
        linked.unlink()
        shutil.copy2(database, linked)


@contextlib.contextmanager
def _scratch(home: Path) -> Iterator[Machine]:
    machine = Machine("images", home / "machine")
    machine.power_off()
    shutil.rmtree(machine.directory, ignore_errors=True)
    try:
        yield machine
    finally:
        machine.power_off()
        shutil.rmtree(machine.directory, ignore_errors=True)
