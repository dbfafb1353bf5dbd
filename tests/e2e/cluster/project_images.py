"""The project's own images, built from its Dockerfiles as a user would, but without an image registry.

The base is made of Debian's packages by debootstrap and the wheels are fetched once, so that only the first build
needs the network. An image is built again when something that it is made of changes.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
import tomllib
from pathlib import Path

from cluster import buildah, versions
from cluster.commands import run, step
from cluster.errors import CommandFailed

ROOT = Path(__file__).parents[3]

#: The Debian release that has Python 3.11, and what the Dockerfiles ask of their base.
DEBIAN = "bookworm"
BASE_PACKAGES = ("ca-certificates", "python3", "python3-venv")
#: Manuals and package lists are of no use in an image; nor are they in an official one.
BASE_UNWANTED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "var/lib/apt/lists",
    "var/cache",
    "var/log",
)
DEBOOTSTRAP_TIMEOUT = 1800.0
DOWNLOAD_TIMEOUT = 1800.0

#: Each image's Dockerfile, and what it copies.
IMAGES = {
    "node": ("node/Dockerfile", "node/peersdb"),
    "operator": ("operator/Dockerfile", "operator/peersdb_operator", "crds"),
    "loadtests": ("loadtests/Dockerfile", "loadtests"),
}
COMMON = ("pyproject.toml", "README.md", "LICENSE", "requirements")
LOCKED = ("build", "sbom", "node", "operator", "loadtests-image")
#: Of earlier contents so many archives are kept of each image: of the branch before, perhaps.
KEPT = 3


def version() -> str:
    """Give the project's version."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def reference(name: str) -> str:
    """Name an image as manifests do."""
    return f"peersdb/{name}:{version()}"


def full_reference(name: str) -> str:
    """Name an image as a container engine does."""
    return f"docker.io/{reference(name)}"


def build(name: str) -> Path:
    """Build an image unless one of the same contents was built; returns its archive."""
    dockerfile, *copied = IMAGES[name]
    files = [path for place in (dockerfile, *copied, *COMMON) for path in _files(ROOT / place)]
    contents = [str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() for path in files]
    base = _base()
    directory = versions.cache_root() / "project"
    archive = directory / f"{name}-{versions.digest(base.encode(), *contents)}.tar"
    if archive.exists():
        os.utime(archive, (time.time(), archive.stat().st_mtime))
        return archive
    wheels = _wheels()
    with step(f"image {name}"), tempfile.TemporaryDirectory(dir=versions.cache_root()) as directory_name:
        context = Path(directory_name)
        for path in files:
            target = context / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
        shutil.copytree(wheels, context / "wheels")
        arguments = {"BASE_IMAGE": base, "WHEELS": "wheels", "VERSION": version(), "REVISION": _revision()}
        # By a name of its own the stage with the packages, which change seldom, outlives the pruning.
        packages = f"localhost/peersdb-e2e/{name}-packages:1"
        buildah.build(ROOT / dockerfile, context, packages, arguments, stage="packages")
        buildah.build(ROOT / dockerfile, context, full_reference(name), arguments)
        buildah.save(full_reference(name), archive)
    for old in sorted(directory.glob(f"{name}-*.tar"), key=lambda path: -path.stat().st_atime)[KEPT:]:
        old.unlink()
    buildah.prune()
    return archive


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    return sorted(path for path in place.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _base() -> str:
    """Make the base image, once: a Debian with Python and nothing else; returns its name."""
    key = versions.digest(repr((DEBIAN, BASE_PACKAGES, BASE_UNWANTED)).encode())
    tag = f"localhost/peersdb-e2e/python:{DEBIAN}-{key}"
    if buildah.known(tag):
        return tag
    with (
        step(f"base image of Debian {DEBIAN}"),
        tempfile.TemporaryDirectory(dir=versions.cache_root()) as directory_name,
    ):
        context = Path(directory_name)
        root = context / "root"
        include = ",".join(BASE_PACKAGES)
        argv = ["debootstrap", "--variant=minbase", f"--include={include}", DEBIAN, str(root)]
        run(argv, timeout=DEBOOTSTRAP_TIMEOUT)
        without = [f"--exclude=./{place}/*" for place in BASE_UNWANTED]
        argv = ["tar", "--numeric-owner", "--one-file-system", *without, "-C", str(root)]
        run([*argv, "-cf", str(context / "root.tar"), "."])
        shutil.rmtree(root)
        dockerfile = context / "Dockerfile"
        dockerfile.write_text('FROM scratch\nADD root.tar /\nCMD ["python3"]\n')
        buildah.build(dockerfile, context, tag)
    return tag


def _wheels() -> Path:
    """Fetch everything that the locked lists name, once; returns the directory."""
    lists = [ROOT / "requirements" / f"{name}.txt" for name in LOCKED]
    key = versions.digest(*(file.read_bytes() for file in lists))
    directory = versions.cache_root() / "wheels" / key
    if directory.exists():
        return directory
    partial = directory.with_suffix(".partial")
    shutil.rmtree(directory.parent, ignore_errors=True)  # of older lists: the images made of them are kept
    with step("fetch the images' packages"):
        argv = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        argv += ["--require-hashes", "--no-deps", "--no-build-isolation", "--python-version", "3.11"]
        argv += ["--only-binary", ":all:", "--no-binary", "python-baseconv,varint", "--dest", str(partial)]
        for file in lists:
            run([*argv, "-r", str(file)], timeout=DOWNLOAD_TIMEOUT)
    partial.rename(directory)
    return directory


def _revision() -> str:
    try:
        return run(["git", "rev-parse", "HEAD"], cwd=ROOT).strip()
    except CommandFailed:  # no git, or no clone
        return ""
