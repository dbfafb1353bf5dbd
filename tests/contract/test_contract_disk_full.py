"""A disk without space: posts are refused by name, nothing is lost, and all goes on once there is space."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract_nodes import Nodes, eventually

MIB = 1024 * 1024
SIZE = 24 * MIB


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a small file system: {mounted.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.processes
def test_a_full_disk_refuses_posts_and_loses_nothing(nodes: Nodes, small_disk: Path, tmp_path: Path) -> None:
    root = nodes.start("root", "-root").wait_ready()
    nodes.folder = small_disk
    small = nodes.make("small", "-bootstrap", f"127.0.0.1:{root.http_port}", f"-download-dir={tmp_path}/")
    small.start().wait_ready()
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(12 * MIB))

    kept: list[bytes] = []
    refused = None
    for number in range(40):
        content = bytes([number]) * MIB
        answer = small.command("post", content=content)
        if answer.status != 200:
            refused = answer
            break
        kept.append(content)
    assert refused is not None
    assert (refused.status, refused.json["code"]) == (507, "disk_full")
    assert "space" in refused.json["error"]
    assert kept, "some posts fit before the disk was full"

    # What was acknowledged is there and is served, also to others; the node lives.
    eventually(lambda: len(small.paths()) == len(root.paths()) == len(kept), "the entries on both")
    assert sorted(root.get(path) for path in root.paths()) == sorted(kept)

    # The last bytes are used up too: entries of others cannot be stored now ...
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(os.urandom(4096))
    for number in range(50):
        root.post(b"while the other had no space %d" % number)
    assert small.get_url("/healthz").status == 200

    # ... and come by themselves once there is space.
    ballast.unlink()
    filler.unlink()
    eventually(lambda: sorted(small.paths()) == sorted(root.paths()), "the log on both", timeout=90)
    small.post(b"there is space again")
    eventually(lambda: len(root.paths()) == len(kept) + 51, "the new entry at the root")
