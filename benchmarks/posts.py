"""The measures of posts: their rate beside the disk's own, and where the time of one goes."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from benchmarks.budget import STAGES
from benchmarks.cluster import BenchNode
from benchmarks.limits import COMMITS, commits_per_second
from benchmarks.result import Result

#: A page in the WAL: 4 KiB and its header, bytes.
WAL_FRAME = 4096 + 24
#: Entries are made so many at once where their rate is not the question.
CLIENTS = 32


async def post(session: aiohttp.ClientSession, directory: Path, entries: int) -> list[Result]:
    """Posts of 1 KiB, durable when acknowledged: one client, then 32; then a larger log."""
    node = BenchNode(directory, "post", "-root")
    try:
        await node.ready(session)
        pages = await _pages_a_post(node)
        limits, rates = await _rounds(node, directory)
        limit = statistics.median(limits)
        # A plain commit writes two pages: the row's, and the one that says how long the file is.
        wide = await asyncio.to_thread(commits_per_second, directory, max(0, round(pages) - 2))
        many = await post_files(node, 3000, CLIENTS)
        await post_files(node, max(0, entries - 4000), CLIENTS)
        limits_later, later = await _rounds(node, directory)
        disk = statistics.median(limits_later) / limit
    finally:
        node.stop()
    one = statistics.median(p.rate for p in rates)
    node_us = statistics.median(p.node_us for p in rates)
    client_us = statistics.median(p.client_us for p in rates)
    rate_later = statistics.median(p.rate for p in later)
    rival = "193/s falling to 25/s (Go PeersDB), 3,000/s (iroh); neither is durable"
    return [
        Result("SQLite FULL commits, the limit", limit, "/s", None, "higher", ""),
        Result(f"the same of {pages:.0f} pages, as a post's", wide, "/s", None, "higher", ""),
        Result("post 1 KiB, 1 client", one, "/s", limit / 2, "higher", rival, key="add"),
        Result("processor time of it: the node", node_us, "µs", None, "lower", ""),
        Result("processor time of it: the client", client_us, "µs", None, "lower", ""),
        Result(f"post 1 KiB, {CLIENTS} clients", many.rate, "/s", 1500, "higher", rival),
        Result("processor time of it: the node", many.node_us, "µs", None, "lower", ""),
        Result(f"post 1 KiB, 1 client, {entries:,} entries", rate_later, "/s", one * 0.9, "higher",
               "25/s (Go PeersDB)"),
        Result("processor time of it: the node", statistics.median(p.node_us for p in later), "µs", None, "lower", ""),
        Result("the disk then, to the disk before", disk, "", None, "higher", ""),
    ]  # fmt: skip


async def budget(session: aiohttp.ClientSession, directory: Path, entries: int) -> list[Result]:  # noqa: ARG001 - one signature
    """Where the time of one client's post goes, stage by stage."""
    report = directory / "budget.json"
    node = BenchNode(directory, "budget", "-root", launcher=("-m", "benchmarks.budget", str(report)))
    try:
        await node.ready(session)
        limit = await asyncio.to_thread(commits_per_second, directory)
        whole = await post_files(node, 1000, 1)
    finally:
        node.stop()
    stages = json.loads(report.read_text())
    return [
        Result("a plain SQLite FULL commit, the limit", 1e6 / limit, "µs", None, "lower", ""),
        *(Result(text, stages[name], "µs", None, "lower", "") for name, text in STAGES.items()),
        Result("the sum of these medians", sum(stages.values()), "µs", None, "lower", ""),
        Result("a post on average, checkpoints included", 1e6 / whole.rate, "µs", None, "lower", ""),
    ]


async def _rounds(node: BenchNode, directory: Path) -> tuple[list[float], list[Posts]]:
    """The disk's commits and one client's posts by turns: a moment of noise spoils one of them, not the ratio."""
    limits, rates = [], []
    for _ in range(3):
        limits.append(await asyncio.to_thread(commits_per_second, directory))
        rates.append(await post_files(node, COMMITS, 1))
    return limits, rates


async def _pages_a_post(node: BenchNode) -> float:
    """Pages that a post writes, as the WAL grows: before its first checkpoint."""
    wal = node.repo / "peersdb.sqlite-wal"
    before = wal.stat().st_size
    await post_files(node, 100, 1)
    return (wal.stat().st_size - before) / 100 / WAL_FRAME


@dataclass(frozen=True)
class Posts:
    """Posts a second, and the processor time of one (µs): of the node with its system calls, of the client."""

    rate: float
    node_us: float
    client_us: float


async def post_files(node: BenchNode, count: int, clients: int) -> Posts:
    """Posts files of 1 KiB over so many connections that are kept open, from a process of its own."""
    if not count:
        return Posts(0, 0, 0)
    before = node.cpu
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.poster", str(node.port), str(count), str(clients)),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise SystemExit("posting failed")
    posted = json.loads(output)
    return Posts(count / posted["seconds"], (node.cpu - before) / count * 1e6, posted["cpu"] / count * 1e6)
