"""Benchmarks on a real API server: the operator runs whole, the test is the kubelet and the load test's master."""

import asyncio
import base64
import contextlib
import json

from api_master import Master
from api_support import manifest, until

from peersdb_operator.errors import NotFound
from peersdb_operator.kube.client import Kube
from peersdb_operator.kube.kinds import (
    BENCHMARK,
    CLUSTER,
    CONFIG_MAP,
    JOB,
    NETWORK_POLICY,
    POD,
    SECRET,
    SERVICE,
    STATEFUL_SET,
)
from peersdb_operator.kube.operator import Operator, Scope

KINDS = (JOB, SECRET, CONFIG_MAP, SERVICE, NETWORK_POLICY, STATEFUL_SET)


def benchmark(name="run", profile="steady", *, cluster="demo", **spec):
    return {
        "apiVersion": BENCHMARK.api_version,
        "kind": BENCHMARK.kind,
        "metadata": {"name": name},
        "spec": {"clusterRef": {"name": cluster}, "profile": profile, **spec},
    }


class Field:
    """A namespace with a cluster, an operator and a master.

    Attributes:
        api: the API server.
        master: of the run.
        wrote: what the operators wrote.
    """

    def __init__(self, api, port, master):
        self.api, self.port, self.master, self.wrote = api, port, master, []
        self._task, self.play = None, True

    async def start(self):
        """Start a new operator, with an empty memory."""
        operator = Operator(Scope((self.api.namespace,), "peersdb-system", "me"), control_port=self.port)
        kube = Kube(self.api.kube._api, lambda kind, verb: self.wrote.append((kind, verb)))
        self._task = asyncio.create_task(operator.lead(kube))
        self.operator = operator

    async def stop(self):
        """Kill it."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def restart(self):
        await self.stop()
        await self.start()

    async def kubelet(self):
        """Make every pod run and be ready, as kubelets would, and look at benchmarks as their watch would."""
        while True:
            for pod in await self.api.all(POD, "app.kubernetes.io/managed-by=peersdb-operator"):
                phase = pod["status"].get("phase")
                if self.play and phase == "Pending" and "deletionTimestamp" not in pod["metadata"]:
                    with contextlib.suppress(NotFound):
                        await self.set_pod(pod["metadata"]["name"])
            for item in await self.api.all(BENCHMARK):
                self.operator.benchmarks.add((self.api.namespace, item["metadata"]["name"]))
            for item in await self.api.all(CLUSTER):
                self.operator.queue.add((self.api.namespace, item["metadata"]["name"]))
            await asyncio.sleep(0.2)

    async def set_pod(self, name, **standing):
        await self.api.set_pod(name, **standing)

    async def end_pod(self, name, code=0, message=""):
        """Let a load pod's container end."""
        ended = {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "message": message}
        state = {"name": "loadtest", "ready": False, "restartCount": 0, "image": "x", "imageID": "x"}
        status = {
            "phase": "Succeeded" if code == 0 else "Failed",
            "containerStatuses": [{**state, "state": {"terminated": ended}}],
            "conditions": [{"type": "Ready", "status": "False"}],
        }
        await self.api.kube._json(
            "PATCH",
            POD.path(self.api.namespace, name, "status"),
            body={"status": status},
            content="application/merge-patch+json",
        )

    async def end_load(self, name="run"):
        """Let all load pods end well, as they do once their results are kept."""
        for pod in await self.pods(name):
            await self.end_pod(pod["metadata"]["name"])

    async def pods(self, name="run", part=None):
        selector = f"peersdb.io/benchmark={name},app.kubernetes.io/name=peersdb-loadtest"
        return await self.api.all(POD, selector + (f",peersdb.io/load={part}" if part else ""))

    async def put(self, wanted):
        body = {**wanted, "metadata": {**wanted["metadata"], "namespace": self.api.namespace}}
        return await self.api.kube.create(BENCHMARK, body)

    async def status(self, name="run"):
        return (await self.api.get(BENCHMARK, name)).get("status") or {}

    async def condition(self, kind, name="run"):
        found = (await self.status(name)).get("conditions", [])
        return next(
            ((c["status"], c["reason"], c["message"]) for c in found if c["type"] == kind), ("", "", "")
        )

    async def phase(self, phase, name="run", seconds=40.0):
        async def holds():
            status = await self.status(name)
            return status if status.get("phase") == phase else None

        try:
            return await until(holds, f"{name} is {phase}", seconds)
        except AssertionError:
            raise AssertionError(json.dumps(await self.status(name), indent=1)) from None

    async def reason(self, kind, reason, name="run", seconds=40.0):
        async def holds():
            found = await self.condition(kind, name)
            return found if found[1] == reason else None

        try:
            return await until(holds, f"{kind} has reason {reason}", seconds)
        except AssertionError:
            raise AssertionError(json.dumps(await self.status(name), indent=1)) from None

    async def made(self, name="run"):
        """What there is of a benchmark, by kind and name."""
        found = {}
        for kind in KINDS:
            for obj in await self.api.all(kind, f"peersdb.io/benchmark={name}"):
                if "deletionTimestamp" not in obj["metadata"]:
                    found[kind.kind, obj["metadata"]["name"]] = obj
        return found

    async def token(self, name="run"):
        secret = await self.api.get(SECRET, f"{name}-control")
        return base64.b64decode(secret["data"]["token"]).decode()

    async def policy(self, name="demo"):
        try:
            return await self.api.get(NETWORK_POLICY, name)
        except NotFound:
            return None

    async def taken_back(self, name="run"):
        """Wait until nothing of a run is left but its Jobs, which have ended, and its results."""

        async def holds():
            kinds = {kind for kind, _ in await self.made(name)} - {"Job"}
            names = {found for _, found in await self.made(name) if found.startswith(name)}
            kept = {f"{name}-results"} | {found for kind, found in await self.made(name) if kind == "Job"}
            return kinds <= {"ConfigMap"} and names <= kept and not (await self.status(name)).get("fault")

        await until(holds, f"all of {name} is taken back")
        assert await self.policy("demo-cut-inside") is None


@contextlib.asynccontextmanager
async def field(api, cluster=None):
    """A cluster that is ready, with an operator that runs and pods that do."""
    master = Master()
    async with master.served() as port:
        found = Field(api, port, master)
        await api.put(cluster or manifest({"eu": 1, "us": 1}))
        await found.start()
        kubelet = asyncio.create_task(found.kubelet())
        try:
            await until(lambda: _ready(api), "the cluster is ready")
            yield found
        finally:
            kubelet.cancel()
            await found.stop()
            if kubelet.done() and not kubelet.cancelled():
                kubelet.result()


async def _ready(api):
    return (await api.conditions()).get("Ready") == ("True", "AllReady")
