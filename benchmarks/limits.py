"""What this machine can do at best, measured in the same run: the disk and a raw stream."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import trio

from peersdb.core.identity import Signer
from peersdb.net.host import Host
from peersdb.net.stream import Stream

COMMITS = 300
PIECE = 1024 * 1024


def commits_per_second(directory: Path, pages: int = 0) -> float:
    """SQLite commits of 1 KiB with ``synchronous=FULL`` in WAL mode, one after the other, in a new database.

    The first commits of a WAL make it longer, which the file system has to note besides: they take up to twice as
    long as later ones that write over it. A node's first posts after a start are such commits too.

    Args:
        directory: on the disk in question.
        pages: how many more pages each commit changes, one row in each.
    """
    with tempfile.TemporaryDirectory(dir=directory) as fresh:
        conn = sqlite3.connect(Path(fresh) / "limit.sqlite", isolation_level=None)
        conn.execute("PRAGMA journal_mode=WAL")
        conn.execute("PRAGMA synchronous=FULL")
        conn.execute("CREATE TABLE t (data BLOB)")
        for number in range(pages):
            conn.execute(f"CREATE TABLE page{number} (data BLOB)")
            conn.execute(f"INSERT INTO page{number} VALUES (zeroblob(100))")  # noqa: S608 - a number
        data = os.urandom(1024)
        start = time.perf_counter()
        for _ in range(COMMITS):
            conn.execute("BEGIN IMMEDIATE")
            conn.execute("INSERT INTO t VALUES (?)", (data,))
            for number in range(pages):
                conn.execute(f"UPDATE page{number} SET data = ?", (data[:100],))  # noqa: S608 - a number
            conn.execute("COMMIT")
        seconds = time.perf_counter() - start
        conn.close()
    return COMMITS / seconds


def synced_bytes_per_second(directory: Path, size: int) -> float:
    """Bytes into one file with one sync at its end."""
    piece = os.urandom(PIECE)
    path = directory / "limit.bin"
    start = time.perf_counter()
    with path.open("wb") as file:
        for _ in range(size // PIECE):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    seconds = time.perf_counter() - start
    path.unlink()
    return size / seconds


@dataclass(frozen=True)
class StreamRate:
    """What a raw stream reached.

    Attributes:
        bytes_per_second: from the first byte sent to the last one read.
        sender_cpu: seconds of CPU.
        receiver_cpu: seconds of CPU.
    """

    bytes_per_second: float
    sender_cpu: float
    receiver_cpu: float


def stream_rate(size: int) -> StreamRate:
    """So many bytes over one libp2p stream (noise, yamux) between two processes."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.limits", str(size)],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    ) as sink:
        if sink.stdout is None or sink.stdin is None:
            raise SystemExit("the sink has no pipes")
        address = sink.stdout.readline().strip()
        rate = trio.run(_send, address, size, psutil.Process(sink.pid))
        sink.stdin.close()
    return rate


async def _send(address: str, size: int, sink: psutil.Process) -> StreamRate:
    host = Host(Signer.from_seed(b"\x01" * 32))
    async with host.run("127.0.0.1", 0):
        stream = await host.open(await host.dial(address), "/sink/1")
        piece = os.urandom(PIECE)
        sender, receiver = time.process_time(), cpu_seconds(sink)
        start = time.perf_counter()
        for _ in range(size // PIECE):
            await stream.write(piece)
        await stream.read_exactly(2)
        seconds = time.perf_counter() - start
        return StreamRate(size / seconds, time.process_time() - sender, cpu_seconds(sink) - receiver)


def cpu_seconds(process: psutil.Process) -> float:
    """What a process has used, in steps of 10 ms."""
    times = process.cpu_times()
    used: float = times.user + times.system
    return used


async def _sink(size: int) -> None:
    host = Host(Signer.from_seed(b"\x02" * 32))

    async def swallow(stream: Stream) -> None:
        left = size
        while left:
            left -= len(await stream.read_exactly(min(left, PIECE)))
        await stream.write(b"ok")

    host.handle("/sink/1", swallow)
    async with host.run("127.0.0.1", 0):
        print(f"{host.addresses[0]}/p2p/{host.peer_id}", flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)


if __name__ == "__main__":
    trio.run(_sink, int(sys.argv[1]))
