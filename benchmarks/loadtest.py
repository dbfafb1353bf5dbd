"""What one worker of the load tests drives at most, against a server that does nothing but answer.

A node on the same two cores would be the limit; here the load generator is.
"""

from __future__ import annotations

import asyncio
import csv
import json
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import psutil

from benchmarks.limits import cpu_seconds
from benchmarks.result import Result

SECONDS = 8
USERS, RATE = 100, 25
"""2,500 requests a second are due: more than can be driven, so the ceiling shows."""

REQUESTS = ("post", "get", "query", "isvalid")
#: The first second has the connections in it.
SETTLE = 2.0


async def loadtest(session: aiohttp.ClientSession, directory: Path, entries: int) -> list[Result]:
    """One worker's requests a second; the server answers at once."""
    del session, entries
    return await asyncio.to_thread(_measure, directory)


def _measure(directory: Path) -> list[Result]:
    report = directory / "report"
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.loadtest"],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    ) as server:
        if server.stdout is None or server.stdin is None:
            raise SystemExit("the server has no pipes")
        node = f"http://127.0.0.1:{int(server.stdout.readline())}=eu"
        command = [sys.executable, "-m", "loadtests", "--headless", "--only-summary", "--profile", "steady"]
        command += [
            "-u",
            str(USERS),
            "-r",
            str(USERS),
            "-t",
            f"{SECONDS}s",
            "--rate",
            str(RATE),
            "--nodes",
            node,
        ]
        command += ["--payload-size", "4Ki", "--report", str(report)]
        looks = []
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as locust:
            process = psutil.Process(locust.pid)
            while locust.poll() is None:
                looks.append((time.time(), cpu_seconds(process)))
                time.sleep(0.1)
        server.stdin.close()
    return _results(report, looks)


def _results(report: Path, looks: list[tuple[float, float]]) -> list[Result]:
    with (report / "samples.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] in REQUESTS]
    if any(row["ok"] != "1" for row in rows):
        raise SystemExit("a request of the load test has failed")
    segment = json.loads((report / "run.json").read_text())["segments"][0]
    inside = [look for look in looks if segment["began"] + SETTLE <= look[0] <= segment["ended"] - 0.5]
    (begin, used), (end, used_then) = inside[0], inside[-1]
    count = sum(begin <= float(row["ts"]) + float(row["seconds"]) < end for row in rows)
    return [
        Result("load test, one worker", count / (end - begin), "requests/s", 1000, "higher", ""),
        Result(
            "load test, for each second of CPU", count / (used_then - used), "requests/s", 1000, "higher", ""
        ),
    ]


class Answers(asyncio.Protocol):
    """HTTP answers of a node, without a node."""

    def __init__(self) -> None:
        """Nothing was received yet."""
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answers each whole request."""
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._received[:end])
            size = 0
            for line in head.split(b"\r\n")[1:]:
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    size = int(value)
            whole = end + 4 + size
            if len(self._received) < whole:
                return
            body = bytes(self._received[end + 4 : whole])
            del self._received[:whole]
            path = head.split(b" ", 2)[1].decode()
            if "wait=" in path:  # nothing ever comes
                return
            answer = json.dumps(_answer(path, body)).encode()
            lines = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            self._transport.write(lines % len(answer) + answer)  # type: ignore[attr-defined]  # of a socket


def _answer(path: str, body: bytes) -> object:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if path.startswith("/peersdb/changes"):
        return {"seq": 0, "now": now, "entries": []}
    if path != "/peersdb/command":
        process = {"memBytes": 1, "cpuSeconds": 1.0}
        return {"region": "eu", "peerId": "p", "root": True, "version": "0", "entries": 1, "peers": [],
                "pins": {"wanted": 0}, "process": process, "ready": True}  # fmt: skip
    if b'"cmd":"post"' in body or b'"cmd": "post"' in body:
        return "File uploaded"
    if b'"cmd":"get"' in body or b'"cmd": "get"' in body:
        return "stored /ipfs/a successfully under /b"
    return [{"path": f"/ipfs/{number}", "contributor": "p", "creationTS": now} for number in range(20)]


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answers, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve())
