"""Three real nodes of three regions, for the tests that need something to measure."""

import contextlib
import json
import sys
import time
import urllib.error
import urllib.request

import pytest

from loadtests.process import child, free_port, tail
from loadtests.targets import Node

START_SECONDS = 60.0


def answer(node, path):
    with urllib.request.urlopen(f"{node.url}{path}", timeout=5) as response:  # noqa: S310  # http only
        return json.load(response)


def wait_ready(node, process, log):
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert process.poll() is None, f"{node.name} ended: {tail(log, 20)}"
        assert time.monotonic() < deadline, f"{node.name} is not ready: {tail(log, 20)}"
        with contextlib.suppress(OSError, urllib.error.URLError):
            if answer(node, "/readyz")["ready"]:
                return
        time.sleep(0.05)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """A root in eu and two peers, in us and asia."""
    directory = tmp_path_factory.mktemp("cluster")
    with contextlib.ExitStack() as stack:
        nodes = []
        for region in ("eu", "us", "asia"):
            place = directory / region
            (place / "downloads").mkdir(parents=True)
            node = Node(f"{region}-0", f"http://127.0.0.1:{free_port()}", region)
            port = node.url.rpartition(":")[2]
            command = [
                sys.executable,
                "-m",
                "peersdb",
                "-http",
                "-benchmark",
                "-full-replica",
                "-region",
                region,
            ]
            command += ["-http-port", port, "-ipfs-port", str(free_port()), "-repo", str(place / "repo")]
            command += ["-download-dir", f"{place / 'downloads'}/"]
            command += ["-bootstrap", nodes[0].url.removeprefix("http://")] if nodes else ["-root"]
            process = stack.enter_context(child(command, log=place / "log", cwd=place))
            wait_ready(node, process, place / "log")
            nodes.append(node)
        yield nodes
