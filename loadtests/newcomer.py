"""A fresh node that joins the cluster: started as a process, timed until it has what the cluster had, then
removed.

Nothing of the node is imported: it is ``python -m peersdb`` with a repo of its own in a temporary directory.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from loadtests.errors import JoinFailed, NodeError
from loadtests.process import child, free_port, tail
from loadtests.quiet import QuietClient
from loadtests.targets import Node

PAUSE_SECONDS = 0.02


@dataclass(frozen=True)
class Join:
    """How a newcomer did; times in seconds from the start of its process."""

    answered: float
    """Its HTTP API answered: what Python and its imports take."""

    caught_up: float
    """It had as many entries as the cluster at its start."""

    entries: int
    """How many those were."""


def command(
    *,
    http_port: int,
    p2p_port: int,
    directory: Path,
    bootstrap: Node,
    region: str,
    token_file: Path | None = None,
) -> list[str]:
    """The command line of a newcomer that joins by ``bootstrap``'s HTTP API."""
    token = ("-api-token-file", str(token_file.resolve())) if token_file else ()
    return [
        *(sys.executable, "-m", "peersdb", "-http", "-benchmark"),
        *("-http-port", str(http_port), "-ipfs-port", str(p2p_port)),
        *("-repo", str(directory / "repo"), "-download-dir", f"{directory / 'downloads'}/"),
        *("-bootstrap", urlsplit(bootstrap.url).netloc, "-region", region),
        *token,
    ]


def join(
    bootstrap: Node,
    *,
    timeout: float,
    sleep: Callable[[float], None],
    clock: Callable[[], float] = time.monotonic,
    token_file: Path | None = None,
) -> Join:
    """Let a newcomer join, wait until it has caught up, and remove it.

    Args:
        bootstrap: the member that it is pointed at; its region becomes the newcomer's.
        timeout: seconds that it may take.
        sleep: cooperative where it must be.
        clock: monotonic, in seconds.
        token_file: what the member, and then the newcomer, asks for.

    Raises:
        JoinFailed: it did not start or did not catch up in time; the message ends in its last words.
        NodeError: the member does not answer.
    """
    with QuietClient(bootstrap) as client:
        goal = int(client.status()["entries"])
    with tempfile.TemporaryDirectory(prefix="peersdb-newcomer-") as name:
        directory = Path(name)
        (directory / "downloads").mkdir()
        log = directory / "node.log"
        port = free_port()
        line = command(
            http_port=port,
            p2p_port=free_port(),
            directory=directory,
            bootstrap=bootstrap,
            region=bootstrap.region,
            token_file=token_file,
        )
        began = clock()
        with child(line, log=log, cwd=directory) as process:
            node = Node(name=f"newcomer-{process.pid}", url=f"http://127.0.0.1:{port}", token=bootstrap.token)
            answered = 0.0
            entries = 0
            with QuietClient(node) as client:
                while clock() - began < timeout:
                    if process.poll() is not None:
                        raise JoinFailed(f"the newcomer ended with {process.returncode}: {tail(log)}")
                    try:
                        status = client.status()
                    except NodeError:
                        sleep(PAUSE_SECONDS)  # it is still starting, which the timeout bounds
                        continue
                    answered = answered or clock() - began
                    entries = int(status["entries"])
                    if status["ready"] and entries >= goal:
                        return Join(answered, clock() - began, goal)
                    sleep(PAUSE_SECONDS)
            raise JoinFailed(f"the newcomer had {entries} of {goal} entries after {timeout:g} s: {tail(log)}")
