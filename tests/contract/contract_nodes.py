"""Real `peersdb` processes for the contract tests: started, asked, stopped, killed.

Nothing is imported from the node: these tests know what its users know.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

#: Something that happens in milliseconds has failed for good after so many seconds, also where others have the machine.
PATIENCE = 60.0
#: A start costs 0.9 s of CPU.
START_TIMEOUT = PATIENCE
#: What a node promises: it is gone so many seconds after SIGTERM.
STOP_TIMEOUT = 5.0
#: Between two looks at a condition of another process, seconds.
LOOK = 0.02

#: One benchmark: the original's, and percentiles after it.
BENCHMARK_KEYS = ["bootstrap", "averagec", "minc", "maxc", "region", "samples", "percentilesc"]

_given: set[int] = set()
T = TypeVar("T")


def free_port() -> int:
    """A port nobody listens on, below the range that outgoing connections take, never given twice.

    Test processes that run side by side take theirs from ranges of their own.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 20000 + worker % 12 * 1000
    while True:
        port = random.SystemRandom().randrange(first, first + 1000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port


def eventually(
    look: Callable[[], T], what: str, timeout: float = PATIENCE, until: Callable[[T], Any] = bool
) -> T:
    """What ``look`` gives once ``until`` holds for it; fails with the last one seen."""
    deadline = time.monotonic() + timeout
    while True:
        seen = look()
        if until(seen):
            return seen
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout} s; last seen: {seen!r}"
        time.sleep(LOOK)


def clean_environment(**extra: str) -> dict[str, str]:
    """This process's environment without what would configure a node."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PEERSDB_") and name not in {"ROOT", "ROOTIP", "REGION"}
    }
    return {**kept, **extra}


def run_peersdb(*arguments: str, timeout: float = 30.0, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs `peersdb` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "peersdb", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=clean_environment(**env),
        stdin=subprocess.DEVNULL,
    )


@dataclass(frozen=True)
class Answer:
    """One answer of a node, as it came over the wire."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Node:
    """One node: its folder outlives its processes."""

    folder: Path
    name: str
    flags: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    http_port: int = field(default_factory=free_port)
    ipfs_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def repo(self) -> Path:
        return self.folder / self.name

    @property
    def downloads(self) -> Path:
        return self.folder / f"{self.name}-downloads"

    @property
    def log_file(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def arguments(self) -> list[str]:
        return [
            *(f"-http -http-port {self.http_port} -ipfs-port {self.ipfs_port}".split()),
            *("-repo", str(self.repo), "-download-dir", f"{self.downloads}/", *self.flags),
        ]

    # --- life ------------------------------------------------------------------------------------------

    def start(self) -> Node:
        """Starts a process; returns before it is ready."""
        assert self.process is None
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "peersdb", *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=clean_environment(**self.env),
                cwd=self.folder,
            )
        return self

    def wait_answering(self) -> Node:
        """Until HTTP answers."""
        self._wait_for("/healthz", START_TIMEOUT)
        return self

    def wait_ready(self, timeout: float = START_TIMEOUT) -> Node:
        """Until /readyz says 200."""
        self._wait_for("/readyz", timeout)
        return self

    def _wait_for(self, path: str, timeout: float) -> None:
        def look() -> int:
            assert self.process is not None
            assert self.process.poll() is None, (
                f"{self.name} ended with {self.process.returncode}: {self.log()}"
            )
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self.get_url(path).status
            return 0

        eventually(look, f"200 from {path} of {self.name}", timeout, lambda status: status == 200)

    def ask_to_end(self, number: int = signal.SIGTERM) -> None:
        """Sends the signal and does not wait."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait_end(self, timeout: float = PATIENCE) -> None:
        """Until it has ended: with 0, and without the trace of a bug."""
        process, self.process = self.process, None
        assert process is not None
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        assert status == 0, f"{self.name} ended with {status}: {self.log()}"
        assert "Traceback" not in self.log(60_000), self.log()

    def stop(self) -> None:
        """Ends it in order."""
        self.ask_to_end()
        self.wait_end()

    def kill(self) -> None:
        """Ends it at once, as a power cut would; does nothing if it does not run."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def log(self, tail: int = 6000) -> str:
        """The end of what it wrote."""
        return self.log_file.read_text(errors="replace")[-tail:] if self.log_file.exists() else "(no log)"

    # --- asking ----------------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = 30,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(), dict(answer.getheaders()))
        finally:
            connection.close()

    def get_url(self, path: str) -> Answer:
        return self.request("GET", path)

    def command(self, cmd: str, *args: str, content: bytes | None = None, **extra: Any) -> Answer:
        document: dict[str, Any] = {"method": {"argcnt": len(args), "cmd": cmd}, "args": list(args), **extra}
        if content is not None:
            document["file"] = base64.b64encode(content).decode()
        return self.request("POST", "/peersdb/command", json.dumps(document).encode())

    def post(self, content: bytes, name: str | None = None) -> None:
        """Shares a file and checks that it was acknowledged."""
        answer = self.command("post", content=content, **({"name": name} if name is not None else {}))
        assert (answer.status, answer.body) == (200, b'"File uploaded"'), answer

    def get(self, path: str) -> bytes:
        """Fetches a file and gives its bytes as they lie in the download directory."""
        answer = self.command("get", path)
        assert answer.status == 200, answer
        found = re.fullmatch(r"stored (/ipfs/\w+) successfully under (.+)", answer.json)
        assert found, answer
        return Path(found[2]).read_bytes()

    def query(self) -> list[dict[str, str]]:
        answer = self.command("query")
        assert answer.status == 200, answer
        rows: list[dict[str, str]] = answer.json
        return rows

    def paths(self) -> list[str]:
        return [row["path"] for row in self.query()]

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = self.get_url("/peersdb/status").json
        return document

    @property
    def multiaddr(self) -> str:
        return str(self.status()["addrs"][0])


class Nodes:
    """Makes nodes under one folder and ends those that are left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.all: list[Node] = []

    def make(self, name: str, *flags: str, **env: str) -> Node:
        """A node that is not started yet."""
        node = Node(self.folder, name, flags, env)
        self.all.append(node)
        return node

    def start(self, name: str, *flags: str, **env: str) -> Node:
        """A node whose process is starting."""
        return self.make(name, *flags, **env).start()

    def end(self) -> None:
        """Stops all at once; each has to end well."""
        running = [node for node in self.all if node.process is not None]
        try:
            for node in running:
                node.ask_to_end()
            for node in running:
                node.wait_end()
        finally:
            for node in running:
                node.kill()


@contextlib.contextmanager
def nodes_in(folder: Path) -> Iterator[Nodes]:
    """Nodes that end with the block: well after a good test, at once after a failed one."""
    nodes = Nodes(folder)
    try:
        yield nodes
    except BaseException:
        for node in nodes.all:
            node.kill()
        raise
    nodes.end()


def originals_keys(benchmark: dict[str, Any]) -> list[str]:
    """The keys of a benchmark that the original has too, in the order that they come in."""
    return [key for key in benchmark if key in BENCHMARK_KEYS]
