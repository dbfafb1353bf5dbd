"""What tests of the operator do with a PeersDBCluster: make one, wait for it, talk to its pods as a user would."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml

from cluster.commands import wait_for
from cluster.errors import CommandFailed, NotReady
from cluster.kubectl import Kubectl

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "deploy" / "samples"
T = TypeVar("T")

#: Seconds between two looks: each starts a kubectl, and the cluster shares the machine with it.
LOOK = 0.25
RESOURCE = "peersdbclusters.peersdb.io"
REGIONS = ("europe-west3", "us-central1", "asia-east2")


def manifest(name: str, **spec: Any) -> dict[str, Any]:
    """The quickstart under another name, with one peer a region and other fields as given."""
    value: dict[str, Any] = yaml.safe_load((SAMPLES / "quickstart.yaml").read_text())
    value["metadata"] = {"name": name}
    value["spec"]["regions"] = [{"name": region, "replicas": 1} for region in REGIONS]
    value["spec"]["storage"] = {"size": "256Mi"}
    value["spec"].update(spec)
    return value


def eventually(holds: Callable[[], T | None], what: str, seconds: float = 60.0) -> T:
    """Waits until ``holds()`` gives something true, and gives it; an error of kubectl counts as not yet."""
    return wait_for(holds, what, seconds, pause=LOOK)


class Peers:
    """One PeersDBCluster in one namespace."""

    def __init__(self, kubectl: Kubectl, namespace: str, name: str) -> None:
        """It need not exist yet."""
        self.kubectl, self.namespace, self.name = kubectl, namespace, name

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 120.0) -> str:
        """Runs kubectl in the namespace."""
        return self.kubectl("--namespace", self.namespace, *arguments, stdin=stdin, timeout=timeout)

    def json(self, *arguments: str) -> dict[str, Any]:
        """Runs kubectl in the namespace and parses its JSON."""
        return self.kubectl.json("--namespace", self.namespace, *arguments)

    def apply(self, value: dict[str, Any]) -> None:
        """Applies a manifest as a user does."""
        self("apply", "-f", "-", stdin=yaml.safe_dump(value))

    def change(self, **spec: Any) -> None:
        """Merges fields into the spec."""
        self("patch", RESOURCE, self.name, "--type=merge", "--patch", json.dumps({"spec": spec}))

    def status(self) -> dict[str, Any]:
        """The resource's status."""
        return dict(self.json("get", RESOURCE, self.name).get("status", {}))

    def condition(self, kind: str) -> dict[str, Any]:
        """One condition; an empty one before there is any."""
        found = [item for item in self.status().get("conditions", []) if item["type"] == kind]
        return found[0] if found else {"status": "", "reason": "", "message": ""}

    def wait(
        self, kind: str, status: str = "True", *, reason: str = "", seconds: float = 90.0
    ) -> dict[str, Any]:
        """Waits until a condition of the newest spec has a status (and a reason)."""

        def holds() -> dict[str, Any] | None:
            resource = self.json("get", RESOURCE, self.name)
            for item in resource.get("status", {}).get("conditions", []):
                if (
                    item["type"] == kind
                    and item["status"] == status
                    and item["observedGeneration"] == resource["metadata"]["generation"]
                    and reason in ("", item["reason"])
                ):
                    return dict(item)
            return None

        try:
            return dict(eventually(holds, f"{self.name}: {kind}={status} {reason}", seconds))
        except NotReady as error:
            raise AssertionError(f"{error}\n{self.describe()}") from None

    def describe(self) -> str:
        """What a person would look at."""
        parts = [["get", RESOURCE, self.name, "-o", "yaml"], ["get", "pods,pvc", "-o", "wide"]]
        parts += [["get", "events", "--sort-by=.lastTimestamp"]]
        shown = []
        for part in parts:
            try:
                shown.append(self(*part))
            except CommandFailed as error:
                shown.append(str(error))
        for pod in self.pods():
            try:
                shown.append(f"--- {pod}\n{self('logs', pod, '--tail=15')}")
            except CommandFailed as error:
                shown.append(str(error))
        return "\n".join(shown)

    def pods(self, **labels: str) -> list[str]:
        """Names of its pods, by labels of ``peersdb.io/``."""
        selector = f"app.kubernetes.io/instance={self.name}"
        selector += "".join(f",peersdb.io/{key}={value}" for key, value in labels.items())
        return self("get", "pods", "-l", selector, "-o", "name").replace("pod/", "").split()

    def pod(self, name: str) -> dict[str, Any]:
        """One pod, by its name without the cluster's (``root-0``)."""
        return self.json("get", "pod", f"{self.name}-{name}")

    def client(self, member: str, *arguments: str, stdin: str | None = None) -> str:
        """Runs the client in a member's pod: `kubectl exec`, the first of the three ways to one pod's HTTP."""
        command = ["exec", "-i", f"{self.name}-{member}", "--", "peersdb", *arguments]
        return self(*command, stdin=stdin).strip()

    def post(self, member: str, content: str, name: str) -> str:
        """Shares a file at a member; gives its path."""
        return self.client(member, "post", "--name", name, "-", stdin=content)

    def paths(self, member: str) -> list[str]:
        """The paths that a member's query answers."""
        return [row["path"] for row in json.loads(self.client(member, "query", "--json"))]

    def node_status(self, member: str) -> dict[str, Any]:
        """What a member says of itself."""
        return dict(json.loads(self.client(member, "status", "--json")))

    def has(self, path: str, *members: str, seconds: float = 30.0) -> None:
        """Waits until each of the members lists a path."""
        for member in members:
            eventually(lambda member=member: path in self.paths(member), f"{member} has {path}", seconds)

    def members(self) -> list[str]:
        """The members of its pods, without the cluster's name."""
        return [pod.removeprefix(f"{self.name}-") for pod in self.pods()]

    def ready(self, pod: str) -> bool:
        """Whether a pod is ready and not going away."""
        found = self.pod(pod)
        conditions = {item["type"]: item["status"] for item in found["status"].get("conditions", [])}
        return conditions.get("Ready") == "True" and "deletionTimestamp" not in found["metadata"]

    def delete(self, seconds: float = 60.0) -> None:
        """Deletes it and waits until its pods are gone."""
        self("delete", RESOURCE, self.name, "--ignore-not-found", "--wait=false")
        eventually(lambda: not self.pods(), f"the pods of {self.name} are gone", seconds)
