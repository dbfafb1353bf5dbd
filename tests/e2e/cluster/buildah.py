"""Building images from Dockerfiles, with buildah and a storage of the harness's own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cluster import versions
from cluster.commands import run
from cluster.errors import CommandFailed

#: Building an image with all its packages takes a minute on two old cores.
BUILD_TIMEOUT = 1800.0
#: Root in a container may not make the namespaces that other isolations want.
_ENVIRONMENT = {"BUILDAH_ISOLATION": "chroot"}


def build(
    dockerfile: Path,
    context: Path,
    tag: str,
    arguments: Mapping[str, str] | None = None,
    *,
    stage: str = "",
) -> None:
    """Build an image into the storage.

    Args:
        dockerfile: what to build.
        context: the directory that it copies from.
        tag: its full name.
        arguments: build arguments.
        stage: the stage to stop at.

    Raises:
        CommandFailed: the build's own words.
    """
    options = [f"--build-arg={name}={value}" for name, value in (arguments or {}).items()]
    options += [f"--target={stage}"] if stage else []
    _buildah("build", "--layers", "--pull=never", "--format=docker", f"--tag={tag}", *options,
             f"--file={dockerfile}", str(context))  # fmt: skip


def save(tag: str, archive: Path) -> None:
    """Write an image to an archive, such as `docker load` and `ctr images import` read; replaced when complete."""
    partial = archive.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    archive.parent.mkdir(parents=True, exist_ok=True)
    _buildah("push", "--quiet", tag, f"docker-archive:{partial}:{tag}")
    partial.rename(archive)


def known(tag: str) -> bool:
    """Whether an image is in the storage, to build others on."""
    try:
        _buildah("inspect", "--type=image", tag)
    except CommandFailed:
        return False
    return True


def prune() -> None:
    """Forget images that no name leads to: earlier builds, and their steps."""
    _buildah("rmi", "--prune", "--force")


def _buildah(*arguments: str) -> str:
    driver = os.environ.get("STORAGE_DRIVER", "overlay")
    storage = versions.cache_root() / "storage"
    own = [f"--root={storage / driver}", f"--runroot={storage / 'run'}", f"--storage-driver={driver}"]
    return run(["buildah", *own, *arguments], env=_ENVIRONMENT, timeout=BUILD_TIMEOUT)
