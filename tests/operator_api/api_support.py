"""An operator against a real API server, step by step, with the test as the kubelet."""

import asyncio
import contextlib
import copy
import time
from dataclasses import dataclass
from pathlib import Path

from api_hand import Hand
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from peersdb_operator.errors import NotFound
from peersdb_operator.kube.client import Kube
from peersdb_operator.kube.kinds import CLUSTER, OWNED, POD, STATEFUL_SET, Kind
from peersdb_operator.names import MANAGED_BY, MANAGED_BY_LABEL

ROOT = Path(__file__).parents[2]
CRDS = ROOT / "crds"
STORE = "/orbitdb/zdpuAtheStore"
NAMESPACE = Kind("v1", "Namespace", "namespaces", namespaced=False)
GENERATED = {
    "apiTokenSecretRef": {"name": "demo-token", "generate": True},
    "swarmKeySecretRef": {"name": "demo-key", "generate": True},
}
FORCE = {"policy": "Force"}
#: Of metadata: what differs between two objects that are the same. The stamp is made of the owner's uid too.
VOLATILE = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "namespace")
STAMP = "peersdb.io/applied"


def manifest(regions=None, *, name="demo", roots=1, annotations=None, **spec):
    """A manifest as plain values; regions by name, with their replicas or all their fields."""
    groups = [
        {"name": region, **(fields if isinstance(fields, dict) else {"replicas": fields})}
        for region, fields in ({"eu": 2} if regions is None else regions).items()
    ]
    return {
        "apiVersion": CLUSTER.api_version,
        "kind": CLUSTER.kind,
        "metadata": {"name": name, "annotations": annotations or {}},
        "spec": {
            "image": {"repository": "peersdb/node", "tag": "1"},
            "root": {"region": "eu", "replicas": roots},
            "regions": groups,
            "storage": {"ephemeral": True},
            **spec,
        },
    }


async def connect(kubeconfig, on_write=lambda _kind, _verb: None):
    """As `client.connect`, but to the server of a file."""
    configuration = Configuration()
    await config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
    configuration.connection_pool_maxsize = 64
    return Kube(ApiClient(configuration), on_write)


async def until(holds, what, seconds=60.0):
    """Wait until something holds, be it async or not; give what it gave."""
    deadline = time.monotonic() + seconds
    while True:
        found = holds()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.05)


@dataclass
class Api:
    """The API server and the test's namespace.

    Attributes:
        kube: an administrator's client, inside of `run`.
    """

    server: object
    namespace: str
    kube: Kube = None

    def kubectl(self, *arguments, **options):
        return self.server.kubectl("--namespace", self.namespace, *arguments, **options)

    def run(self, scenario):
        """Run ``scenario()``, which is async."""

        async def connected():
            async with asyncio.timeout(180):
                self.kube = await connect(self.server.kubeconfig)
                try:
                    await self.make_namespace(self.namespace)
                    await scenario()
                finally:
                    await self.kube.close()

        asyncio.run(connected())

    async def make_namespace(self, name):
        await self.kube.create(
            NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        )

    async def put(self, wanted):
        """Make a cluster what a manifest says, as `kubectl replace` does; gives it."""
        body = copy.deepcopy(wanted)
        body["metadata"]["namespace"] = self.namespace
        try:
            live = await self.kube.get(CLUSTER, self.namespace, wanted["metadata"]["name"])
        except NotFound:
            return await self.kube.create(CLUSTER, body)
        body["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
        return await self.kube.replace(CLUSTER, body)

    async def get(self, kind, name):
        return await self.kube.get(kind, self.namespace, name)

    async def names(self, kind, selector=""):
        return [obj["metadata"]["name"] for obj in await self.all(kind, selector)]

    async def all(self, kind, selector=""):
        return [obj async for items, _ in self.kube.pages(kind, self.namespace, selector) for obj in items]

    async def conditions(self, name="demo"):
        """The conditions by type, as (status, reason)."""
        status = (await self.get(CLUSTER, name)).get("status", {})
        return {c["type"]: (c["status"], c["reason"]) for c in status.get("conditions", [])}

    async def knows_store(self, name="demo"):
        """Let the status have the store's address, as once a root has told it."""
        patch = {"status": {"storeAddress": STORE}}
        await self.kube._json(
            "PATCH",
            CLUSTER.path(self.namespace, name, "status"),
            body=patch,
            content="application/merge-patch+json",
        )

    async def snapshot(self):
        """All that the operator makes, without what differs between two that are the same."""
        found = {}
        for kind in OWNED:
            for obj in await self.all(kind, f"{MANAGED_BY_LABEL}={MANAGED_BY}"):
                found[kind.kind, obj["metadata"]["name"]] = plain(obj)
        return found

    async def versions(self):
        """The resource version of everything that the operator writes."""
        kinds = (CLUSTER, *OWNED)
        return {
            (kind.kind, obj["metadata"]["name"]): obj["metadata"]["resourceVersion"]
            for kind in kinds
            for obj in await self.all(kind)
        }

    @contextlib.asynccontextmanager
    async def operator(self, *, on_write=lambda _kind, _verb: None, kubeconfig=None, random=None):
        """A new operator with an empty memory; without a kubeconfig of its own it shares our connections."""
        hand = Hand(self.namespace, on_write, random)
        if kubeconfig is None:
            hand.kube = Kube(self.kube._api, hand.wrote)
            yield hand
            return
        hand.kube = await connect(kubeconfig, hand.wrote)
        try:
            yield hand
        finally:
            await hand.kube.close()

    async def settled_controllers(self, *, ready=False):
        """Wait until the StatefulSets' controller has seen every change and made its pods, and they are ready."""

        async def done():
            sets = await self.all(STATEFUL_SET)
            field = "readyReplicas" if ready else "replicas"
            return all(
                it["status"].get(field, 0) == it["spec"]["replicas"]
                and it["status"].get("observedGeneration") == it["metadata"]["generation"]
                for it in sets
            )

        await until(done, "the controllers are done")

    async def play_kubelet(self):
        """Make every pod ready, as its kubelet would; the controller manager has made it."""
        for pod in await self.all(POD, f"{MANAGED_BY_LABEL}={MANAGED_BY}"):
            if "deletionTimestamp" not in pod["metadata"]:
                await self.set_pod(pod["metadata"]["name"])

    async def set_pod(self, name, *, ready=True, ip="127.0.0.1", containers=()):
        state = {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": list(containers),
        }
        await self.kube._json(
            "PATCH",
            POD.path(self.namespace, name, "status"),
            body={"status": state},
            content="application/merge-patch+json",
        )


def plain(obj):
    """An object without what differs between two that are the same."""
    metadata = {field: value for field, value in obj["metadata"].items() if field not in VOLATILE}
    metadata["annotations"] = {
        key: "a hash" if key == STAMP else text for key, text in metadata.get("annotations", {}).items()
    }
    metadata["ownerReferences"] = [{**owner, "uid": ""} for owner in metadata.get("ownerReferences", [])]
    spec = {key: value for key, value in obj.get("spec", {}).items() if not key.startswith("clusterIP")}
    if obj.get("spec", {}).get("clusterIP") == "None":
        spec["clusterIP"] = "None"
    aside = ("apiVersion", "kind", "metadata", "spec", "status")  # a list's items do not say what they are
    content = {key: value for key, value in obj.items() if key not in aside}
    return {**content, "metadata": metadata, **({"spec": spec} if spec else {})}


def template_of(stateful_set):
    return stateful_set["spec"]["template"]["spec"]["containers"][0]
