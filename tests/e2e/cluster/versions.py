"""What is built, in which versions, and where it is kept."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

KUBERNETES = "v1.34.4"
#: etcd is in Kubernetes' own list of modules, in the version that its maintainers test with.
COREDNS = "v1.12.1"
LOCAL_PATH_PROVISIONER = "v0.0.30"
KWOK = "v0.7.0"
#: Counted up when a recipe changes otherwise than by the versions and sources here.
RECIPE = 1

SOURCES = Path(__file__).parent / "go"
"""Programs of our own, a directory each."""


def cache_root() -> Path:
    """Give the harness's directory in the user's cache: all that is built or run lies in it."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "peersdb" / "e2e"


def key() -> str:
    """Name a build: the version of Kubernetes, and a digest of all versions that go into it."""
    parts = [KUBERNETES, COREDNS, LOCAL_PATH_PROVISIONER, KWOK, RECIPE]
    return f"{KUBERNETES}-{digest(json.dumps(parts).encode())}"


def digest(*parts: bytes) -> str:
    """Give a short name for contents: twelve hexadecimal digits tell a few thousand builds apart."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()[:12]


def build_dir() -> Path:
    """Give the directory of this build: ``bin/`` and ``images/`` below it."""
    return cache_root() / key()
