"""What tests do with a PeersDBBenchmark: apply one, wait for its end, fetch its results."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from e2e_peers import Peers, eventually
from peersdb_operator import __version__

RESOURCE = "peersdbbenchmarks.peersdb.io"
ENDED = ("Succeeded", "Failed")


class Bench:
    """One PeersDBBenchmark of a cluster."""

    def __init__(self, peers: Peers, name: str) -> None:
        """It need not exist yet."""
        self.peers, self.name = peers, name

    def apply(self, profile: str, **spec: Any) -> None:
        """Applies it as a user does."""
        self.peers.apply(
            {
                "apiVersion": "peersdb.io/v1alpha1",
                "kind": "PeersDBBenchmark",
                "metadata": {"name": self.name},
                "spec": {"clusterRef": {"name": self.peers.name}, "profile": profile, **spec},
            }
        )

    def status(self) -> dict[str, Any]:
        """The resource's status."""
        return dict(self.peers.json("get", RESOURCE, self.name).get("status", {}))

    def condition(self, kind: str) -> dict[str, Any]:
        """One condition; an empty one before there is any."""
        found = [item for item in self.status().get("conditions", []) if item["type"] == kind]
        return found[0] if found else {"status": "", "reason": "", "message": ""}

    def ended(self, seconds: float) -> dict[str, Any]:
        """Waits for its end and gives its status then."""

        def look() -> dict[str, Any] | None:
            status = self.status()
            return status if status.get("phase") in ENDED else None

        return dict(eventually(look, f"the end of {self.name}", seconds))

    def running(self, seconds: float = 120.0) -> None:
        """Waits until load is made."""
        eventually(lambda: self.status().get("requests", 0) > 0, f"{self.name} runs", seconds)

    def pods(self) -> list[str]:
        """Names of its load pods."""
        selector = f"peersdb.io/benchmark={self.name},app.kubernetes.io/name=peersdb-loadtest"
        return self.peers("get", "pods", "-l", selector, "-o", "name").replace("pod/", "").split()

    def results(self, out: Path) -> Path:
        """Fetches the results with the command that users have."""
        command = [sys.executable, "-m", "peersdb_operator", "benchmark", "report", self.name]
        command += ["-n", self.peers.namespace, "--out", str(out)]
        environment = {"KUBECONFIG": str(self.peers.kubectl.kubeconfig), "PATH": "/usr/bin:/bin"}
        subprocess.run(command, check=True, capture_output=True, timeout=60, env=environment)
        return out

    def summary(self) -> dict[str, Any]:
        """summary.json as it lies in the ConfigMap."""
        found = self.peers.json("get", "configmap", f"{self.name}-results")
        if "summary.json" in found.get("data", {}):
            return dict(json.loads(found["data"]["summary.json"]))
        return dict(json.loads(gzip.decompress(found["binaryData"]["summary.json.gz"])))

    def delete(self) -> None:
        """Deletes it and waits until its pods are gone."""
        self.peers("delete", RESOURCE, self.name, "--ignore-not-found", "--wait=false")
        eventually(lambda: not self.pods(), f"the pods of {self.name} are gone", 60)


#: Takes a file in base64 from its standard input and serves it.
SERVING = """
import base64, sys
open("/data/data.zip", "wb").write(base64.b64decode(sys.stdin.read()))
"""


def served(peers: Peers, directory: Path) -> dict[str, str]:
    """Serves a directory as one zip in the cluster; gives the URL and hash by which a data set names it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(directory.rglob("*")):
            archive.write(path, path.relative_to(directory))
    data = out.getvalue()
    drop = {"capabilities": {"drop": ["ALL"]}, "allowPrivilegeEscalation": False}
    server = {
        "name": "server",
        "image": f"peersdb/node:{__version__}",
        "command": ["python3", "-m", "http.server", "8000", "--directory", "/data"],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "securityContext": drop,
    }
    spec = {
        "containers": [server],
        "volumes": [{"name": "data", "emptyDir": {}}],
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    peers.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "files"}, "spec": spec})
    peers("wait", "--for=condition=Ready", "pod/files", "--timeout=60s")
    peers("exec", "-i", "files", "--", "python3", "-c", SERVING, stdin=base64.b64encode(data).decode())
    address = peers.json("get", "pod", "files")["status"]["podIP"]
    return {"url": f"http://{address}:8000/data.zip", "sha256": hashlib.sha256(data).hexdigest()}
