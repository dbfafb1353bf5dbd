"""The images that a cluster itself needs: of the programs that were built, and of Debian's packages."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from cluster import buildah, golang, prerequisites, versions
from cluster.commands import run, step
from cluster.containerd import PAUSE_IMAGE

COREDNS_IMAGE = "localhost/peersdb-e2e/coredns:1"
VOLUMES_IMAGE = "localhost/peersdb-e2e/local-path-provisioner:1"
TOOLS_IMAGE = "localhost/peersdb-e2e/tools:1"
"""busybox: what makes and removes the directories of volumes, and what tests run in pods."""


def build() -> list[Path]:
    """Build the images that do not exist yet; returns their archives."""
    directory = versions.build_dir() / "images"
    archives = []
    for tag, recipe in _RECIPES.items():
        name = tag.rpartition("/")[2].replace(":", "-")  # a changed recipe gets another tag, and so is built
        archive = directory / f"{name}.tar"
        archives.append(archive)
        if archive.exists():
            continue
        with step(f"image {name}"), tempfile.TemporaryDirectory(dir=versions.build_dir()) as context:
            dockerfile = Path(context) / "Dockerfile"
            dockerfile.write_text(recipe(Path(context)))
            buildah.build(dockerfile, Path(context), tag)
            buildah.save(tag, archive)
    return archives


def _pause(context: Path) -> str:
    """Compile what holds a pod's namespaces, from Kubernetes' own source."""
    sources = golang.module_directory(f"k8s.io/kubernetes@{versions.KUBERNETES}")
    source = sources / "build" / "pause" / "linux" / "pause.c"
    run(["cc", "-Os", "-static", "-s", "-DVERSION=3.10", "-o", str(context / "pause"), str(source)])
    return 'FROM scratch\nCOPY pause /pause\nUSER 65535:65535\nENTRYPOINT ["/pause"]\n'


def _coredns(context: Path) -> str:
    program = golang.programs(("coredns",)) / golang.file_name("coredns")
    shutil.copy(program, context / "coredns")
    return 'FROM scratch\nCOPY coredns /coredns\nENTRYPOINT ["/coredns"]\n'


def _volumes(context: Path) -> str:
    name = "local-path-provisioner"
    shutil.copy(golang.programs((name,)) / name, context / name)
    return f'FROM scratch\nCOPY {name} /{name}\nENTRYPOINT ["/{name}"]\n'


def _tools(context: Path) -> str:
    """Take busybox and the C library out of Debian's packages, which are not installed here.

    The static one would not do: without the library's shared parts it cannot resolve names.
    """
    root = context / "root"
    for package in ("busybox", "libc6"):
        archive = prerequisites.download(package, context)
        run(["dpkg-deb", "--extract", str(archive), str(root)])
    shutil.rmtree(root / "usr" / "share")
    program = next(root.rglob("bin/busybox"))
    for applet in run([str(program), "--list"]).split():
        link = program.with_name(applet)
        if not link.exists():
            link.symlink_to("busybox")
    (root / "tmp").mkdir(mode=0o1777)
    return 'FROM scratch\nCOPY root /\nENV PATH=/bin:/usr/bin\nCMD ["sh"]\n'


_RECIPES: dict[str, Callable[[Path], str]] = {
    PAUSE_IMAGE: _pause,
    COREDNS_IMAGE: _coredns,
    VOLUMES_IMAGE: _volumes,
    TOOLS_IMAGE: _tools,
}
