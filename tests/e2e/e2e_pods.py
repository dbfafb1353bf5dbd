"""Pods of busybox for tests: each serves its volume by HTTP on port 8000 and can ask others."""

from __future__ import annotations

from typing import Any

from cluster.commands import wait_for
from cluster.errors import CommandFailed
from cluster.kubectl import Kubectl

READY_TIMEOUT = 120.0
#: A packet on this machine takes microseconds; one that is not back after so many seconds is lost.
LOST = 3
#: What our own command in a pod ends with when the other did not answer; kubectl's own failures are 1.
NO_ANSWER = 42


class Pods:
    """Pods of one namespace."""

    def __init__(self, kubectl: Kubectl, namespace: str, tools: str) -> None:
        self.kubectl = kubectl
        self._tools = tools
        self.namespace = namespace

    def start(self, region: str, name: str = "", **labels: str) -> str:
        """Start a pod in a region; returns its name when it is ready."""
        name = name or f"pod-{region}"
        spec = {**self.spec(), "nodeSelector": {"topology.kubernetes.io/region": region}}
        metadata = {"name": name, "labels": labels}
        self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        self.wait(name)
        return name

    def spec(self) -> dict[str, Any]:
        """The spec of a pod that serves /data."""
        container = {
            "name": "tools",
            "image": self._tools,
            "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", "hostname >>/data/starts; exec httpd -f -v -p 8000 -h /data"],
            "ports": [{"name": "http", "containerPort": 8000}],
            "readinessProbe": {"httpGet": {"path": "/starts", "port": "http"}, "periodSeconds": 1},
            "resources": {"limits": {"memory": "64Mi"}},
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }
        return {
            "containers": [container],
            "terminationGracePeriodSeconds": 0,
            "volumes": [{"name": "data", "emptyDir": {}}],
        }

    def stateful_set(self, name: str, replicas: int) -> None:
        """Start a StatefulSet whose pods have volumes of the default class; returns when all are ready."""
        spec = self.spec()
        spec.pop("volumes")
        labels = {"app": name}
        claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}}
        service = {"clusterIP": "None", "selector": labels, "ports": [{"name": "http", "port": 8000}]}
        stateful = {
            "replicas": replicas,
            "serviceName": name,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
        }
        self.apply(
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": service},
            {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name}, "spec": stateful},
        )
        self("rollout", "status", f"statefulset/{name}", f"--timeout={READY_TIMEOUT:.0f}s")

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply objects in the namespace."""
        self.kubectl.apply(*objects, namespace=self.namespace)

    def wait(self, name: str) -> None:
        """Wait until a pod is ready."""
        self("wait", "--for=condition=Ready", f"pod/{name}", f"--timeout={READY_TIMEOUT:.0f}s")

    def address(self, name: str) -> str:
        """A pod's address."""
        pod = self.kubectl.json("get", "pod", name, f"--namespace={self.namespace}")
        return str(pod["status"]["podIP"])

    def run(self, name: str, *argv: str) -> str:
        """Run a program in a pod."""
        return self("exec", name, "--", *argv)

    def get(self, name: str, host: str, port: int = 8000) -> str:
        """Ask another by HTTP, from inside a pod."""
        # wget's own -T ends some builds of busybox with a segmentation fault
        command = f"timeout {LOST} wget -q -O - http://{host}:{port}/starts || exit {NO_ANSWER}"
        return self.run(name, "sh", "-c", command)

    def reaches(self, name: str, host: str, port: int = 8000) -> bool:
        """Whether a pod gets an answer."""
        try:
            return bool(self.get(name, host, port))
        except CommandFailed as error:
            if error.status != NO_ANSWER:
                raise
            return False

    def reaches_within(self, name: str, host: str, expected: bool, port: int = 8000) -> None:
        """Wait until a pod does, or does not, reach another: a rule takes a moment to be in force."""
        wait_for(
            lambda: self.reaches(name, host, port) is expected,
            f"{name} {'reaches' if expected else 'does not reach'} {host}",
            30,
        )

    def __call__(self, *arguments: str) -> str:
        """Run kubectl in the namespace."""
        return self.kubectl(f"--namespace={self.namespace}", *arguments)
