"""The measures: each starts its own nodes and gives rows of the result table."""

from __future__ import annotations

import asyncio
import hashlib
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

from benchmarks.cluster import BenchNode
from benchmarks.limits import stream_bytes_per_second, synced_bytes_per_second
from benchmarks.posts import CLIENTS, budget, post, post_files
from benchmarks.result import Result

MIB = 1024 * 1024
#: Files of the `files` measure, bytes.
SIZES = (64 * MIB, 512 * MIB)
#: The smaller of the two logs that a new peer gets.
FEW = 1000


async def replicate(session: aiohttp.ClientSession, directory: Path, entries: int) -> list[Result]:
    """A new peer catches up; live entries; query."""
    root = BenchNode(directory, "root", "-root")
    nodes = [root]
    try:
        await root.ready(session)
        caught_up, there = {}, 0
        for count in dict.fromkeys((min(FEW, entries), entries)):
            await post_files(root, count - there, CLIENTS)
            there = count
            peer = BenchNode(directory, f"peer-{count}", "-benchmark")
            nodes.append(peer)
            caught_up[count] = await _catch_up(session, root, peer, count)
            if count < entries:
                nodes.pop().stop()
        delays = await _live(session, root, peer, 200)
        first, whole = await _query(session, peer)
    finally:
        for node in nodes:
            node.stop()
    return [
        *(
            Result(f"a new peer has {count:,} entries", seconds, "s", max(0.3, 2.0 * count / 10_000), "lower",
                   "1,000: 0.21 s, 10,000: 2.0 s (iroh); 5.6 s, 42 s (OrbitDB JS)", f"new peer {count}")
            for count, seconds in caught_up.items()
        ),
        Result("live entry, post answered → in the other's query, median", statistics.median(delays) * 1e3, "ms", 6,
               "lower", "1.7 ms (iroh), 20 ms (Go PeersDB)", "live median"),
        Result("live entry, p99", statistics.quantiles(delays, n=100)[98] * 1e3, "ms", 30, "lower", "", "live p99"),
        Result(f"query {entries:,} entries, first byte", first * 1e3, "ms", 20, "lower", "5 s (Go PeersDB)"),
        Result(f"query {entries:,} entries, all", whole * 1e3, "ms", 150, "lower", "5 s (Go PeersDB)"),
    ]  # fmt: skip


async def files(session: aiohttp.ClientSession, directory: Path, entries: int) -> list[Result]:  # noqa: ARG001 - one signature
    """Files in by the client, and from a peer: verified, on disk, memory flat."""
    limit = await asyncio.to_thread(stream_bytes_per_second) / 1e6
    results = [Result("raw libp2p stream, the limit", limit, "MB/s", None, "higher", "")]
    source = BenchNode(directory, "source", "-root")
    sink = BenchNode(directory, "sink", f"-bootstrap=127.0.0.1:{source.port}")
    try:
        await source.ready(session)
        await sink.ready(session)
        before = max(source.memory, sink.memory)
        for number, size in enumerate(SIZES):
            file = directory / f"file-{size}"
            digest = _make_file(file, size)
            written = await asyncio.to_thread(synced_bytes_per_second, directory, size) / 1e6
            posted = size / 1e6 / await _client_post(source, file)
            row = (await source.command(session, "query"))[number]
            await sink.wait_entries(session, number + 1)
            begin = time.perf_counter()
            await sink.command(session, "get", row["path"])
            fetched = size / 1e6 / (time.perf_counter() - begin)
            _check_file(sink.downloads / row["path"].removeprefix("/ipfs/"), digest)
            title = f"{size // MIB} MiB"
            results += [
                Result(f"{title} written and synced, the disk", written, "MB/s", None, "higher", ""),
                Result(f"post of {title} by the client", posted, "MB/s", 150, "higher", "46 (Go PeersDB), 315 (Kubo)",
                       "file in" if size == SIZES[0] else ""),
                Result(f"file of {title} from a peer", fetched, "MB/s", min(250.0, limit / 2), "higher",
                       "157 to 219 (iroh), 105 (Go PeersDB), 100 (Kubo)",
                       "file from a peer" if size == SIZES[0] else ""),
            ]  # fmt: skip
        grown = (max(source.memory, sink.memory) - before) / MIB
    finally:
        sink.stop()
        source.stop()
    return [*results, Result("memory grown by all that", grown, "MiB", 64, "lower", "")]


async def start(session: aiohttp.ClientSession, directory: Path, entries: int) -> list[Result]:
    """Start to ready, idle memory, restart with a log."""
    node = BenchNode(directory, "start", "-root")
    try:
        first = await node.ready(session)
        await asyncio.sleep(1)
        idle = node.memory / MIB
        await post_files(node, entries, CLIENTS)
    finally:
        node.stop()
    node = BenchNode(directory, "start", "-root")
    try:
        again = await node.ready(session)
        await asyncio.sleep(1)
        loaded = node.memory / MIB
    finally:
        node.stop()
    return [
        Result("start to ready", first, "s", 1.5, "lower", "0.2 s (Go PeersDB)", "start"),
        Result("idle memory", idle, "MiB", 115, "lower", "58 MiB (Go PeersDB)", "idle memory"),
        Result(
            f"restart with {entries:,} entries", again, "s", 2.0, "lower", "2.1 s with 8,000 (Go PeersDB)"
        ),
        Result(f"memory after it, {entries:,} entries", loaded, "MiB", 150, "lower", "200 MiB (Go PeersDB)"),
    ]


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


Measure = Callable[[aiohttp.ClientSession, Path, int], Awaitable[list[Result]]]
MEASURES: dict[str, Measure] = {
    "start": start,
    "post": post,
    "budget": budget,
    "replicate": replicate,
    "files": files,
}


async def _addresses(session: aiohttp.ClientSession, node: BenchNode) -> list[str]:
    try:
        found: list[str] = (await node.status(session))["addrs"]
    except aiohttp.ClientError:
        return []
    return found


async def _catch_up(session: aiohttp.ClientSession, root: BenchNode, peer: BenchNode, count: int) -> float:
    """Seconds from a new peer's dial until it has so many entries."""
    while not (await _addresses(session, peer)):  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.01)
    start = time.perf_counter()
    await peer.command(session, "connect", (await _addresses(session, root))[0])
    return await peer.wait_entries(session, count) - start


async def _live(
    session: aiohttp.ClientSession, source: BenchNode, target: BenchNode, count: int
) -> list[float]:
    delays = []
    known = (await target.status(session))["entries"]
    for number in range(count):
        await source.command(session, "post", file=os.urandom(256))
        posted = time.perf_counter()
        while (await target.status(session))["entries"] <= known + number:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        delays.append(time.perf_counter() - posted)
    return delays


async def _query(session: aiohttp.ClientSession, node: BenchNode) -> tuple[float, float]:
    """Seconds to the first byte and to the last, the median of five."""
    runs = []
    for _ in range(5):
        begin = time.perf_counter()
        async with session.post(f"{node.url}/peersdb/command", data='{"method":{"cmd":"query"}}') as answer:
            await answer.content.readany()
            first = time.perf_counter() - begin
            await answer.read()
            runs.append((first, time.perf_counter() - begin))
    return statistics.median(run[0] for run in runs), statistics.median(run[1] for run in runs)
