"""Nodes as processes, and a client for them."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from benchmarks.limits import cpu_seconds

START_TIMEOUT = 30.0


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class BenchNode:
    """One node process."""

    def __init__(
        self, directory: Path, name: str, *flags: str, launcher: Sequence[str] = ("-m", "peersdb")
    ) -> None:
        """Starts ``peersdb`` with a repo under ``directory``.

        Args:
            directory: for repo, downloads and log.
            name: of these in it.
            flags: the node's.
            launcher: Python's arguments before them.
        """
        self.name = name
        self.repo = directory / name
        self.downloads = directory / f"{name}-downloads"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.started = time.perf_counter()
        self._log = (directory / f"{name}.log").open("wb")
        command = [
            sys.executable, *launcher, "-http", f"-http-port={self.port}", f"-ipfs-port={free_port()}",
            f"-repo={self.repo}", f"-download-dir={self.downloads}/", *flags,
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stderr=self._log, start_new_session=True)

    async def ready(self, session: aiohttp.ClientSession) -> float:
        """Waits until it is ready; gives the seconds since its start."""
        deadline = self.started + START_TIMEOUT
        while time.perf_counter() < deadline:
            if self.process.poll() is not None:
                raise SystemExit(f"{self.name} ended: see {self._log.name}")
            try:
                async with session.get(f"{self.url}/readyz") as answer:
                    if answer.status == 200:
                        return time.perf_counter() - self.started
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.005)
        raise SystemExit(f"{self.name} was not ready within {START_TIMEOUT:.0f} s: see {self._log.name}")

    async def status(self, session: aiohttp.ClientSession) -> dict[str, Any]:
        """Its status."""
        async with session.get(f"{self.url}/peersdb/status") as answer:
            status: dict[str, Any] = await answer.json()
            return status

    async def command(
        self, session: aiohttp.ClientSession, cmd: str, *args: str, file: bytes | None = None
    ) -> Any:
        """Runs a command; raises where it fails."""
        body: dict[str, Any] = {"method": {"cmd": cmd}, "args": list(args)}
        if file is not None:
            body["file"] = base64.b64encode(file).decode()
        async with session.post(f"{self.url}/peersdb/command", data=json.dumps(body)) as answer:
            text = await answer.text()
            if answer.status != 200:
                raise SystemExit(f"{self.name}: {cmd} failed: {text}")
            return json.loads(text)

    async def wait_entries(self, session: aiohttp.ClientSession, count: int) -> float:
        """Waits until its log has so many entries; gives the time when it had."""
        while (await self.status(session))["entries"] < count:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)
        return time.perf_counter()

    @property
    def memory(self) -> int:
        """Its private and shared memory in use, bytes."""
        found: int = psutil.Process(self.process.pid).memory_info().rss
        return found

    @property
    def peak_memory(self) -> int:
        """The most it has had in use so far, bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    @property
    def cpu(self) -> float:
        """Seconds of CPU it has used, in steps of 10 ms."""
        return cpu_seconds(psutil.Process(self.process.pid))

    def stop(self) -> None:
        """Ends it and waits."""
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._log.close()
