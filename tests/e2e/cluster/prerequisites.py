"""What the harness needs of this machine: root, the user's word, Linux, and Debian's packages."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from cluster import cgroups, golang, versions
from cluster.commands import run, say, step
from cluster.errors import CommandFailed, NotBuilt, Refused
from cluster.settings import CONSENT, Settings

#: Programs, and the Debian package that has each. None of them has to be running.
PROGRAMS = {
    "buildah": "buildah",
    "cc": "gcc",
    "containerd": "containerd",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "iptables": "iptables",
    "nft": "nftables",
    "nsenter": "util-linux",
    "runc": "runc",
    "sysctl": "procps",
    "tini": "tini",
}
#: Files of packages that have no program.
FILES = {
    "/usr/include/stdlib.h": "libc6-dev",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
}
#: Where distributions keep the plugins that give pods their network.
CNI_DIRECTORIES = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
CNI_PACKAGE = "containernetworking-plugins"
#: What three nodes with some members on them take, in bytes.
MEMORY = 3 << 30
#: Debian's archive may be slow.
INSTALL_TIMEOUT = 1200.0


def obstacle() -> str:
    """Say why no cluster can be made on this machine; nothing if one can."""
    return next(_obstacles(), "")


def _obstacles() -> Iterator[str]:
    """Give what stands in the way, the plainest first: what comes later presumes that the rest is well."""
    if not sys.platform.startswith("linux"):
        yield "it is made of Linux namespaces"
    if os.geteuid() != 0:
        yield "it needs root"
    try:
        run(["unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "true"])
    except CommandFailed as error:
        yield f"namespaces cannot be made here: {error.output}"
    if not cgroups.available():
        yield "no cgroups are mounted that can be written"
    if missing_packages() and shutil.which("apt-get") is None:
        yield f"Debian's {' '.join(missing_packages())} are not installed"
    available = psutil.virtual_memory().available
    if available < MEMORY:
        yield f"it takes {MEMORY >> 30} GiB of memory, and {available >> 20} MiB are available"
    try:
        golang.programs(golang.ALL_PROGRAMS)
    except NotBuilt:
        try:
            golang.check()
        except Refused as error:
            yield str(error)


def check(environment: Mapping[str, str] = os.environ) -> None:
    """See that the harness may change this machine.

    Raises:
        Refused: it may not; says what it would change.
    """
    if not sys.platform.startswith("linux"):
        raise Refused("the test cluster is made of Linux namespaces: elsewhere use kind and KUBECONFIG")
    if environment.get(CONSENT) != "1" or os.geteuid() != 0:
        raise Refused(
            f"not without root and {CONSENT}=1 in the environment (or KUBECONFIG, for tests on another cluster).\n"
            f"{changes()}"
        )


def changes() -> str:
    """Say what a cluster changes on this machine."""
    packages = missing_packages()
    installed = (
        f"installs the packages {' '.join(packages)} (they stay)" if packages else "installs no package"
    )
    return (
        f"A test cluster {installed};\n"
        f"keeps programs, images and its own state in {versions.cache_root()} (about 4 GB; Go's caches take 10 GB);\n"
        "while it runs: one interface with one address and one route of 10.100.0.0/14, one cgroup for each node,\n"
        "processes in namespaces of their own (about 1.5 GB of memory). `make cluster-down` takes all of that back.\n"
        "kind needs none of this: see docs/testing-on-a-cluster.md."
    )


def missing_packages() -> list[str]:
    """Name the Debian packages whose programs are not there."""
    missing = {package for program, package in PROGRAMS.items() if shutil.which(program) is None}
    missing |= {package for file, package in FILES.items() if not Path(file).exists()}
    if not any((directory / "ptp").exists() for directory in CNI_DIRECTORIES):
        missing.add(CNI_PACKAGE)
    return sorted(missing)


def install() -> None:
    """Install what is missing.

    Raises:
        Refused: this is no Debian; says what to install.
    """
    packages = missing_packages()
    if not packages:
        return
    if shutil.which("apt-get") is None:
        raise Refused(
            f"install what Debian calls {' '.join(packages)}, by this machine's own package manager"
        )
    with step(f"install {len(packages)} packages"):
        _apt("update")
        _apt("install", "-y", "--no-install-recommends", *packages)
    say(f"installed: {' '.join(packages)}")


def download(package: str, directory: Path) -> Path:
    """Fetch a Debian package without installing it; returns the file."""
    try:
        _apt("download", package, cwd=directory)
    except CommandFailed:  # a machine that never fetched Debian's lists, as many images of it
        _apt("update")
        _apt("download", package, cwd=directory)
    return next(directory.glob(f"{package}_*.deb"))


def _apt(*arguments: str, cwd: Path | None = None) -> None:
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "-qq", *arguments], env=quiet, cwd=cwd, timeout=INSTALL_TIMEOUT)


def cni_directory() -> Path:
    """Say where the plugins are."""
    return next(directory for directory in CNI_DIRECTORIES if (directory / "ptp").exists())


def announce(settings: Settings) -> None:
    """Say what is about to be changed."""
    say(changes().replace("10.100.0.0/14", settings.addresses.all))
