"""Files in by the client, and from a peer."""

from __future__ import annotations

import asyncio
import hashlib
import os
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from benchmarks.cluster import BenchNode
from benchmarks.limits import StreamRate, stream_rate, synced_bytes_per_second
from benchmarks.result import Result, median

MIB = 1024 * 1024
#: Files, bytes, and how often each is measured: the median counts.
SIZES = {64 * MIB: 5, 512 * MIB: 3}


@dataclass(frozen=True)
class Run:
    """One file, with the limits taken right before it.

    Attributes:
        raw: a raw stream of as many bytes.
        disk: bytes a second into one file, synced.
        posted: bytes a second of the client's post.
        fetched: bytes a second from the question to the answer: all blocks checked and kept, the file on the disk.
        sender_cpu: seconds of the node that has the file.
        receiver_cpu: seconds of the node that fetches it.
    """

    raw: StreamRate
    disk: float
    posted: float
    fetched: float
    sender_cpu: float
    receiver_cpu: float


async def files(session: aiohttp.ClientSession, directory: Path, entries: int) -> list[Result]:  # noqa: ARG001 - one signature
    """Files in by the client, and from a peer: verified, on disk, memory flat; the medians of several runs."""
    results: list[Result] = []
    source = BenchNode(directory, "source", "-root")
    sink = BenchNode(directory, "sink", f"-bootstrap=127.0.0.1:{source.port}")
    try:
        await source.ready(session)
        await sink.ready(session)
        before = max(source.memory, sink.memory)
        for size, repeats in SIZES.items():
            runs = [await _run(session, source, sink, directory, size) for _ in range(repeats)]
            results += _rows(size, runs)
        grown = (max(source.peak_memory, sink.peak_memory) - before) / MIB
    finally:
        sink.stop()
        source.stop()
    return [*results, Result("memory grown by all that, at its peak", grown, "MiB", 64, "lower", "")]


async def _run(
    session: aiohttp.ClientSession, source: BenchNode, sink: BenchNode, directory: Path, size: int
) -> Run:
    file = directory / "file"
    digest = _make_file(file, size)
    posted = size / await _client_post(source, file)
    file.unlink()
    entries = (await source.status(session))["entries"]
    await sink.wait_entries(session, entries)
    path = (await source.command(session, "query"))[-1]["path"]
    raw = await asyncio.to_thread(stream_rate, size)
    # What was written so far is not to be waited for by what is measured next. The disk comes last: what it leaves is
    # free memory that the machine really has, where a virtual one takes back what is not used, and each page of a
    # new file would have to be asked of the host again.
    await asyncio.to_thread(os.sync)
    disk = await asyncio.to_thread(synced_bytes_per_second, directory, size)
    sender, receiver = source.cpu, sink.cpu
    begin = time.perf_counter()
    await sink.command(session, "get", path)
    fetched = size / (time.perf_counter() - begin)
    run = Run(raw, disk, posted, fetched, source.cpu - sender, sink.cpu - receiver)
    target = sink.downloads / path.removeprefix("/ipfs/")
    _check_file(target, digest)
    target.unlink()
    return run


def _rows(size: int, runs: list[Run]) -> list[Result]:
    title, mib = f"{size // MIB} MiB", size / MIB
    raw = statistics.median(run.raw.bytes_per_second for run in runs) / 1e6
    return [
        median(f"raw libp2p stream of {title}, the limit", (r.raw.bytes_per_second / 1e6 for r in runs), "MB/s"),
        median(f"{title} written and synced, the disk", (r.disk / 1e6 for r in runs), "MB/s"),
        median(f"post of {title} by the client", (r.posted / 1e6 for r in runs), "MB/s", target=150,
               rival="46 (Go PeersDB), 315 (Kubo)", key="file in" if size == min(SIZES) else ""),
        median(f"file of {title} from a peer", (r.fetched / 1e6 for r in runs), "MB/s", target=min(250.0, raw / 2),
               rival="157 to 219 (iroh), 105 (Go PeersDB), 100 (Kubo)",
               key="file from a peer" if size == min(SIZES) else ""),
        median("  of the raw stream", (100 * r.fetched / r.raw.bytes_per_second for r in runs), "%"),
        median("  CPU of the sender, a MiB", (1e3 * r.sender_cpu / mib for r in runs), "ms"),
        median("  CPU of the receiver, a MiB", (1e3 * r.receiver_cpu / mib for r in runs), "ms"),
        median("  the same of the raw stream: sender", (1e3 * r.raw.sender_cpu / mib for r in runs), "ms"),
        median("  the same of the raw stream: receiver", (1e3 * r.raw.receiver_cpu / mib for r in runs), "ms"),
    ]  # fmt: skip


def _make_file(path: Path, size: int) -> bytes:
    """A file of random bytes, and its sha2-256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(size // MIB):
            piece = os.urandom(MIB)
            digest.update(piece)
            file.write(piece)
    return digest.digest()


def _check_file(path: Path, digest: bytes) -> None:
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").digest() != digest:
            raise SystemExit(f"{path} is not what was posted")


async def _client_post(node: BenchNode, file: Path) -> float:
    """Seconds that ``peersdb post`` takes, its start included."""
    begin = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "peersdb",
        "post",
        str(file),
        "--api",
        node.url,
        stdout=asyncio.subprocess.DEVNULL,
    )
    if await process.wait():
        raise SystemExit("peersdb post failed")
    return time.perf_counter() - begin
