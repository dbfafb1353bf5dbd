"""The cgroups that nodes put their pods under, in both versions of Linux's interface."""

from __future__ import annotations

import contextlib
from pathlib import Path

from cluster.commands import wait_for
from cluster.errors import Refused

#: What a kubelet needs of version 2.
CONTROLLERS = "+cpu +cpuset +memory +pids +io"
#: A cgroup is empty as soon as its processes are collected.
REMOVE_TIMEOUT = 20.0


def available() -> bool:
    """Whether this machine has cgroups that can be written."""
    return bool(_mounts("cgroup") or _mounts("cgroup2"))


def create(name: str) -> None:
    """Make a cgroup below the root of every hierarchy.

    Raises:
        Refused: this machine has no cgroups to write to.
    """
    old = _mounts("cgroup")
    new = _mounts("cgroup2")
    if not old and not new:
        raise Refused("no cgroups are mounted on this machine: a kubelet cannot run")
    for hierarchy in old:
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        for values in ("cpuset.cpus", "cpuset.mems"):  # empty in a new cpuset, which then takes no process
            if (group / values).exists():
                (group / values).write_text((hierarchy / values).read_text())
    if not old:
        root = new[0]
        (root / "cgroup.subtree_control").write_text(CONTROLLERS)
        (root / name).mkdir(exist_ok=True)
        (root / name / "cgroup.subtree_control").write_text(CONTROLLERS)


def remove(name: str) -> None:
    """Remove a cgroup and all below it, once its processes are gone.

    Raises:
        NotReady: there are still processes in it.
    """
    for hierarchy in (*_mounts("cgroup"), *_mounts("cgroup2")):
        group = hierarchy / name
        wait_for(lambda group=group: _removed(group), f"{group} is empty", REMOVE_TIMEOUT)  # type: ignore[misc]


def _removed(group: Path) -> bool:
    if not group.exists():
        return True
    below = sorted((path for path in group.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts))
    for path in (*below, group):
        with contextlib.suppress(OSError):  # busy until the kernel is done with it: looked at again
            path.rmdir()
    return not group.exists()


def _mounts(kind: str) -> list[Path]:
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, file_system, options, *_ = line.split()
        if file_system == kind and "rw" in options.split(","):
            found.append(Path(place))
    return found
