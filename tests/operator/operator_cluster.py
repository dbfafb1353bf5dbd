"""A local cluster driven by the command line, as a user does."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import yaml

# Ports of this run alone, away from a developer's own cluster: 20 for the shared cluster, 20 for the others;
# below 32768, where the kernel takes ports for outgoing connections.
HTTP_PORT = 20000 + os.getpid() % 200 * 40
P2P_PORT = HTTP_PORT - 8000
SHARED_PORTS = {"httpPort": HTTP_PORT + 20, "libp2pPort": P2P_PORT + 20}

STANDIN = Path(__file__).with_name("standin.py")


def manifest(regions=None, *, name="demo", roots=1, **spec):
    """A manifest as plain values."""
    regions = {"eu": 1, "us": 1} if regions is None else regions
    return {
        "apiVersion": "peersdb.io/v1alpha1",
        "kind": "PeersDBCluster",
        "metadata": {"name": name},
        "spec": {
            "image": {"repository": "peersdb/node", "tag": "1"},
            "root": {"region": "eu", "replicas": roots},
            "regions": [{"name": region, "replicas": count} for region, count in regions.items()],
            "network": {"httpPort": HTTP_PORT, "libp2pPort": P2P_PORT},
            **spec,
        },
    }


def measure(**spec):
    """A benchmark as plain values."""
    return {
        "apiVersion": "peersdb.io/v1alpha1",
        "kind": "PeersDBBenchmark",
        "metadata": {"name": "measure"},
        "spec": {"clusterRef": {"name": "demo"}, "profile": "contribution", **spec},
    }


def closed(schema):
    """Server-side apply of an undeclared status field is an HTTP 500: here it is a fault."""
    inner = {key: closed(child) if key == "items" else child for key, child in schema.items()}
    if "properties" in schema:
        inner["properties"] = {key: closed(child) for key, child in schema["properties"].items()}
        inner["additionalProperties"] = False
    return inner


def until(holds, what, timeout=60.0):
    """Wait until something holds; give what it gave."""
    deadline = time.monotonic() + timeout
    while not (found := holds()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.02)
    return found


class Local:
    """`peersdb-operator local ...` on a directory of its own."""

    def __init__(self, home, node_command=None):
        self.home = home
        self.directory = home / "state"
        self.faults_file = home / "faults.json"
        self.file = home / "cluster.yaml"
        self.node_command = node_command or f"{sys.executable} {STANDIN} --faults {self.faults_file}"

    def faults(self, **faults):
        """Make members fail from their next start on: ``eu_0="crash"``."""
        self.faults_file.write_text(
            json.dumps({name.replace("_", "-"): fault for name, fault in faults.items()})
        )

    def argv(self, *arguments):
        return [sys.executable, "-m", "peersdb_operator", "local", *arguments, "--dir", str(self.directory)]

    def run(self, *arguments, code=0):
        done = subprocess.run(
            self.argv(*arguments),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=self.environment(),
        )
        assert done.returncode == code, done.stderr + done.stdout
        return done

    def environment(self):
        # A terminal's width must not decide what is printed.
        return {**os.environ, "COLUMNS": "80"}

    def up_arguments(self, value, *more):
        self.file.write_text(yaml.safe_dump(value))
        return ["up", "-f", str(self.file), "--node-command", self.node_command, "--timeout", "20", *more]

    def up(self, value, *more, code=0):
        return self.run(*self.up_arguments(value, *more), code=code)

    def status(self):
        return json.loads(self.run("status", "-o", "json").stdout)

    def members(self):
        """Members by name, as the supervisor last wrote them; those that stopped left out."""
        try:
            view = json.loads((self.directory / "status.json").read_bytes())
        except FileNotFoundError:
            return {}
        return {member["name"]: member for member in view["local"]["members"] if member["state"] != "Stopped"}

    def pids(self):
        return {name: member["pid"] for name, member in self.members().items()}

    def supervisor(self):
        return json.loads((self.directory / "supervisor.json").read_bytes())["pid"]

    def processes(self):
        """All processes that have to do with this cluster."""
        mine = str(self.directory)
        lines = ((process.pid, process.info["cmdline"]) for process in psutil.process_iter(["cmdline"]))
        return [pid for pid, line in lines if any(mine in word for word in line or ())]


def end(local):
    if (local.directory / "cluster.json").exists():
        local.run("down")
    assert local.processes() == []
