"""The whole operator beside a real node that answers for the pods, and Kubernetes nodes that come and go."""

import asyncio
import contextlib
import os
import subprocess
import sys

import pytest
from api_process import free_ports
from api_support import GENERATED, manifest, until

from peersdb_operator.kube import secrets
from peersdb_operator.kube.kinds import CLUSTER, CONFIG_MAP, NODE, POD, SECRET, STATEFUL_SET
from peersdb_operator.kube.operator import Operator, Scope

pytestmark = pytest.mark.processes


@contextlib.asynccontextmanager
async def leading(api):
    """An operator at work in the namespace."""
    operator = Operator(Scope((api.namespace,), "peersdb-system", "me"))
    async with api.operator() as hand:
        task = asyncio.create_task(operator.lead(hand.kube))
        try:
            yield operator
            assert not task.done(), task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@contextlib.contextmanager
def real_node(directory, http, p2p, token_file):
    argv = [
        sys.executable, "-m", "peersdb", "-http", "-http-host", "127.0.0.1", "-http-port", str(http), "-ipfs-host",
        "127.0.0.1", "-ipfs-port", str(p2p), "-repo", str(directory / "repo"), "-root", "-full-replica",
        "-api-token-file", str(token_file),
    ]  # fmt: skip
    with (directory / "node.log").open("wb") as log:
        process = subprocess.Popen(argv, cwd=directory, stdout=log, stderr=log, env=os.environ)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


async def replicas(api, name):
    return (await api.get(STATEFUL_SET, name))["spec"]["replicas"]


async def has(api, **wanted):
    found = await api.conditions()
    return all(found.get(kind) == outcome for kind, outcome in wanted.items())


def test_the_store_that_a_root_made_is_learnt_and_the_others_follow(api, tmp_path):
    async def scenario():
        http, p2p = free_ports(2)
        asked = manifest(
            {"eu": 1}, roots=2, network={"httpPort": http, "libp2pPort": p2p}, security=GENERATED
        )
        await api.put(asked)
        async with leading(api):
            for name in ("demo-root-0", "demo-eu-0"):
                await until(lambda name=name: _exists(api, POD, name), f"{name} is there")
            assert await replicas(api, "demo-root") == 1  # several roots would each make a store
            token_file = tmp_path / "token"
            token_file.write_text(secrets.text_of(await api.get(SECRET, "demo-token"), "token"))
            uid = (await api.get(POD, "demo-root-0"))["metadata"]["uid"]
            with real_node(tmp_path, http, p2p, token_file):
                await api.play_kubelet()
                await until(lambda: _knows_store(api), "the store is known")
                address = (await api.get(CLUSTER, "demo"))["status"]["storeAddress"]
                assert address.startswith("/orbitdb/")
                assert (await api.get(CONFIG_MAP, "demo"))["data"] == {"storeAddress": address}
                await until(lambda: _exists(api, POD, "demo-root-1"), "the second root starts")
                await api.play_kubelet()
                done = {"Ready": ("True", "AllReady"), "ReplicationHealthy": ("True", "InSync")}
                await until(lambda: has(api, **done), "it is ready")
                status = (await api.get(CLUSTER, "demo"))["status"]
                assert (status["readyReplicas"], status["version"]) == (3, status["version"].strip())
                assert status["regions"][0]["headsLag"] == 0
                assert (await api.get(POD, "demo-root-0"))["metadata"][
                    "uid"
                ] == uid  # it was not restarted for it
                # The node has read the old token only: it is asked with that one until it has read the new one.
                asked["metadata"]["annotations"] = {"peersdb.io/rotate-api-token": "1"}
                await api.put(asked)
                await until(lambda: _tokens(api, 2), "the token is renewed")
                await asyncio.sleep(2)
                assert await has(api, **done)

    api.run(scenario)


async def _exists(api, kind, name):
    return name in await api.names(kind)


async def _knows_store(api):
    return "storeAddress" in (await api.get(CLUSTER, "demo")).get("status", {})


async def _tokens(api, count):
    return len(secrets.tokens(await api.get(SECRET, "demo-token"))) == count


def a_node(name, region):
    metadata = {"name": name, "labels": {"topology.kubernetes.io/region": region}}
    taints = [{"key": "nobody", "effect": "NoSchedule"}]  # no pod shall come to it: it has no kubelet
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {"taints": taints}}


def test_nodes_that_come_and_go_are_seen(api):
    async def scenario():
        region = f"region-{api.namespace}"
        asked = manifest({region: 1})
        asked["spec"]["root"]["region"] = region
        await api.put(asked)
        async with leading(api):
            without = {"RegionsSchedulable": ("False", "RegionWithoutNodes")}
            await until(lambda: has(api, **without), "the region has no node")
            made = await api.kube.create(NODE, a_node(region, region))
            await until(
                lambda: has(api, RegionsSchedulable=("False", "NodesNotReady")), "its node is not ready"
            )
            ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
            await api.kube._json(
                "PATCH", NODE.path(None, region, "status"), body=ready, content="application/merge-patch+json"
            )
            await until(
                lambda: has(api, RegionsSchedulable=("True", "AllRegionsHaveNodes")), "its node is ready"
            )
            await api.kube.delete(NODE, None, region, made["metadata"]["uid"])
            await until(lambda: has(api, **without), "the region has no node again")

    api.run(scenario)
