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

    def load(self, archive: Path) -> None:
        """Import the images of an archive."""
        self("images", "import", str(archive), timeout=IMPORT_TIMEOUT)

    def forget(self, image: str) -> None:
        """Forget an image; containers that run keep it."""
        self("images", "rm", "--sync", image)

    def images(self) -> list[str]:
        """Name the images it has."""
        return self("images", "ls", "-q").split()


def disk(archives: Sequence[Path]) -> Path:
    """Give a disk with some images on it, to be copied by `copy`: they are imported once, not once for each node.

    It is made of the one before, so that of a new version of an image only the layers that changed are unpacked.
    """
    identities = {file: f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in archives}
    home = versions.cache_root() / "disks"
    key = versions.digest(_CONFIGURATION.encode(), *(identity.encode() for identity in identities.values()))
    kept = home / key
    if kept.exists():
        return kept
    before = next(home.glob("*/" + _LIST), None)
    known = before.read_text().splitlines() if before else []
    new = [file for file, identity in identities.items() if identity not in known]
    with step(f"a disk with {len(new)} new images"), _scratch(home) as machine:
        own = machine.disk(DISK)
        if before:
            copy(before.parent, own)
        machine.power_on([DISK])
        containerd = Containerd(machine)
        containerd.start()
        for archive in new:
            containerd.load(archive)
        containerd.stop()
        machine.power_off()
        (own / _LIST).unlink(missing_ok=True)  # a link to the old one
        (own / _LIST).write_text("\n".join(identities.values()))
        own.rename(kept)
        for old in home.iterdir():  # nodes have links of their own to what they still use
            if old not in {kept, machine.directory}:
                shutil.rmtree(old)
    return kept


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
