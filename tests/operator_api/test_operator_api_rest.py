"""A cluster at rest is not written, whoever looks at it."""

import asyncio

import pytest
from api_support import FORCE, GENERATED, manifest, until

from peersdb_operator.kube.kinds import POD
from peersdb_operator.kube.operator import Operator, Scope

CLUSTERS = {
    "plain": manifest(),
    "everything": manifest(
        {
            "eu": {
                "replicas": 1,
                "resources": {"requests": {"cpu": "0.5", "memory": "1024Mi"}, "limits": {"cpu": 1}},
            },
            "us": 2,
        },
        roots=3,
        storage={"size": "500Mi"},
        security=GENERATED,
        network={
            "httpPort": 9090,
            "ipFamilyPolicy": "SingleStack",
            "networkPolicy": {"enabled": True, "httpFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]},
        },
        benchmark={"enabled": True},
        scaleDown=FORCE,
    ),
    "little": manifest(
        {"eu": {"replicas": 1, "paused": True}}, network={"networkPolicy": {"enabled": False}}
    ),
}


@pytest.mark.parametrize("which", CLUSTERS)
def test_a_cluster_at_rest_is_not_written(api, which):
    async def scenario():
        await api.put(CLUSTERS[which])
        async with api.operator() as operator:
            await operator.settle()
            await api.knows_store()
            await operator.settle()
            await api.settled_controllers()
            await api.play_kubelet()
            await api.settled_controllers(ready=True)
            await operator.settle()
            before = await api.versions()
            assert [await operator.reconcile() for _ in range(3)] == [[], [], []]
        async with api.operator() as another:  # which knows nothing
            assert [await another.reconcile() for _ in range(2)] == [[], []]
        assert await api.versions() == before

    api.run(scenario)


async def _count(api, kind, least):
    return len(await api.names(kind)) >= least


def test_the_same_with_watches_and_workers(api):
    """The whole operator: what its own writes and other programs' bring about settles, and then nothing is written."""

    async def scenario():
        await api.put(manifest({"eu": 1, "us": 1}, security=GENERATED))
        operator = Operator(Scope((api.namespace,), "peersdb-system", "me"))
        wrote = []
        async with api.operator(on_write=lambda kind, verb: wrote.append((kind, verb))) as hand:
            task = asyncio.create_task(operator.lead(hand.kube))
            await until(lambda: _count(api, POD, 3), "the pods are there")
            await api.play_kubelet()
            await until(lambda: _ready(api), "it is ready")
            await until(lambda: _quiet(wrote), "the last events are written")
            quiet = len(wrote)
            for _ in range(3):
                operator.queue.add((api.namespace, "demo"))
                await asyncio.sleep(0.3)
            assert not task.done()
            assert wrote[quiet:] == []
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        reconciles = operator.metrics.registry.get_sample_value(
            "peersdb_operator_reconciles_total", {"result": "ok"}
        )
        assert 5 <= reconciles <= 60

    api.run(scenario)


async def _quiet(wrote):
    before = len(wrote)
    await asyncio.sleep(1.5)  # on a busy machine an event's write comes late
    return len(wrote) == before


async def _ready(api):
    return (await api.conditions()).get("Ready") == ("True", "AllReady")
