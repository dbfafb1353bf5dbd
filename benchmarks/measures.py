"""The measures: each starts its own nodes and gives rows of the result table."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

from benchmarks.cluster import BenchNode
from benchmarks.files import files
from benchmarks.loadtest import loadtest
from benchmarks.operator import operator, operator_many
from benchmarks.posts import CLIENTS, budget, post, post_files
from benchmarks.result import Result
from benchmarks.validators import validators
from benchmarks.votes import votes

MIB = 1024 * 1024
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
                   "1,000: 0.21 s, 10,000: 2.0 s (iroh); 5.6 s, 42 s (OrbitDB JS)", key=f"new peer {count}")
            for count, seconds in caught_up.items()
        ),
        Result("live entry, post answered → in the other's query, median", statistics.median(delays) * 1e3, "ms", 6,
               "lower", "1.7 ms (iroh), 20 ms (Go PeersDB)", key="live median"),
        Result("live entry, p99", statistics.quantiles(delays, n=100)[98] * 1e3, "ms", 30, "lower", "", key="live p99"),
        Result(f"query {entries:,} entries, first byte", first * 1e3, "ms", 20, "lower", "5 s (Go PeersDB)"),
        Result(f"query {entries:,} entries, all", whole * 1e3, "ms", 150, "lower", "5 s (Go PeersDB)"),
    ]  # fmt: skip


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
        Result("start to ready", first, "s", 1.5, "lower", "0.2 s (Go PeersDB)", key="start"),
        Result("idle memory", idle, "MiB", 115, "lower", "58 MiB (Go PeersDB)", key="idle memory"),
        Result(
            f"restart with {entries:,} entries", again, "s", 2.0, "lower", "2.1 s with 8,000 (Go PeersDB)"
        ),
        Result(f"memory after it, {entries:,} entries", loaded, "MiB", 150, "lower", "200 MiB (Go PeersDB)"),
    ]


Measure = Callable[[aiohttp.ClientSession, Path, int], Awaitable[list[Result]]]
MEASURES: dict[str, Measure] = {
    "start": start,
    "post": post,
    "budget": budget,
    "replicate": replicate,
    "files": files,
    "operator": operator,
    "operator-many": operator_many,
    "validators": validators,
    "votes": votes,
    "loadtest": loadtest,
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
