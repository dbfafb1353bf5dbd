"""What votes cost: a new peer gets those of 20 voters on all files; a question and a list are answered from them.

The voters are not there any more: what they said is written into the root's repo before it starts, as if it had heard
it while they were.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import statistics
import time
from pathlib import Path

import aiohttp
import trio

from benchmarks.cluster import BenchNode
from benchmarks.posts import CLIENTS, post_files
from benchmarks.result import Result
from peersdb.core.ballots import MAX_VOTES, Ballot, Vote, create_ballot, log_hash
from peersdb.core.cid import parse_path
from peersdb.core.identity import Signer
from peersdb.core.records import create_record
from peersdb.store.ballots import BallotStore
from peersdb.store.repo import Repo
from peersdb.store.tables import Members

VOTERS = 20
#: A node that judges what arrives casts so many files' votes in one ballot, or more.
TOGETHER = 16


async def votes(session: aiohttp.ClientSession, directory: Path, entries: int) -> list[Result]:
    """A new peer gets the votes of 20 voters on every file; isvalid and query with verdicts."""
    root = BenchNode(directory, "root", "-root")
    try:
        await root.ready(session)
        await post_files(root, entries, CLIENTS)
        paths = [row["path"] for row in await root.command(session, "query")]
        address = (await root.status(session))["storeAddress"]
    finally:
        root.stop()
    signers = [Signer.from_seed(hashlib.sha256(b"voter %d" % number).digest()) for number in range(VOTERS)]
    await asyncio.to_thread(trio.run, _write, root.repo, signers, address, paths)
    root = BenchNode(directory, "root", "-root")
    nodes = [root]
    try:
        await root.ready(session)
        electorate = ",".join(signer.peer_id for signer in signers)
        peer = BenchNode(directory, "peer", "-voters", electorate)
        nodes.append(peer)
        await _addresses(session, peer)
        await peer.command(session, "connect", (await _addresses(session, root))[0])
        entries_at = await peer.wait_entries(session, entries)
        while (await peer.status(session))["validation"]["votes"] < VOTERS * len(paths):  # noqa: ASYNC110 - a process
            await asyncio.sleep(0.01)
        took = time.perf_counter() - entries_at
        asked = [await _timed(session, peer, "isvalid", path) for path in paths[:: max(1, len(paths) // 200)]]
        listed = [await _timed(session, peer, "query", f"limit={entries}") for _ in range(5)]
    finally:
        for node in nodes:
            node.stop()
    count = VOTERS * len(paths)
    return [
        Result(f"a new peer has {count:,} votes of {VOTERS} voters, after the entries", took, "s", 5, "lower", ""),
        Result("isvalid with votes in store, median", 1e3 * statistics.median(asked), "ms", 5, "lower",
               "at least 5 s (Go PeersDB)"),
        Result(f"query with verdicts, {entries:,} entries", 1e3 * statistics.median(listed), "ms", 200, "lower",
               "at least 5 s an entry (Go PeersDB)"),
    ]  # fmt: skip


async def _addresses(session: aiohttp.ClientSession, node: BenchNode) -> list[str]:
    found: list[str] = []
    while not found:
        await asyncio.sleep(0.01)
        with contextlib.suppress(aiohttp.ClientError):  # it starts
            found = (await node.status(session))["addrs"]
    return found


async def _timed(session: aiohttp.ClientSession, node: BenchNode, cmd: str, argument: str) -> float:
    began = time.perf_counter()
    await node.command(session, cmd, argument)
    return time.perf_counter() - began


async def _write(path: Path, signers: list[Signer], address: str, paths: list[str]) -> None:
    repo = Repo(path, os.urandom)
    try:
        await Members(repo.database).keep(
            [create_record(signer, ("/ip4/127.0.0.1/tcp/1",), 1, False, "eu") for signer in signers]
        )
        store = BallotStore(repo.database)
        for signer in signers:
            ballots = _chain(signer, address, paths)
            for start in range(0, len(ballots), MAX_VOTES):
                await store.keep(ballots[start : start + MAX_VOTES])
    finally:
        repo.close()


def _chain(signer: Signer, address: str, paths: list[str]) -> list[Ballot]:
    made: list[Ballot] = []
    validator = hashlib.sha256(b"csv/1").digest()
    for start in range(0, len(paths), TOGETHER):
        said = [
            Vote(parse_path(path), "csv/1", validator, "valid") for path in paths[start : start + TOGETHER]
        ]
        prev = made[-1].hash if made else b""
        made.append(
            create_ballot(
                signer,
                log_hash(address),
                epoch=1,
                seq=len(made) + 1,
                prev=prev,
                ts=time.time_ns(),
                votes=said,
            )
        )
    return made
