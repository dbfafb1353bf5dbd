"""Changes of the manifest, and what stands in their way."""

import contextlib

from api_support import FORCE, GENERATED, manifest, template_of, until

from peersdb_operator.errors import Conflict
from peersdb_operator.kube.kinds import (
    CLUSTER,
    OWNED,
    POD,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Kind,
    controller_of,
)

IMAGE = {"repository": "peersdb/node", "tag": "2"}


async def events(api):
    return [event["reason"] for event in await api.all(Kind("v1", "Event", "events"))]


async def replicas(api):
    return {it["metadata"]["name"]: it["spec"]["replicas"] for it in await api.all(STATEFUL_SET)}


def test_a_change_reaches_what_it_concerns_and_nothing_else(api):
    async def scenario():
        await api.put(manifest({"eu": 1, "us": 1}))
        async with api.operator() as operator:
            await operator.settle()
            before = await api.versions()
            more = {"name": "us", "replicas": 3, "resources": {"limits": {"memory": "2Gi"}}}
            await api.put(manifest({"eu": 1, "us": more}))
            await operator.settle()
            after = await api.versions()
            changed = {key for key in after if after[key] != before[key]} - {("StatefulSet", "demo-us")}
            assert changed <= {("PeersDBCluster", "demo"), ("PodDisruptionBudget", "demo-us")}
            us = await api.get(STATEFUL_SET, "demo-us")
            assert (us["spec"]["replicas"], template_of(us)["resources"]) == (
                3,
                {"limits": {"memory": "2Gi"}},
            )

    api.run(scenario)


def test_members_are_taken_away_only_by_force(api):
    async def scenario():
        await api.put(manifest({"eu": 3, "us": 2}, roots=2))
        async with api.operator() as operator:
            await operator.settle()
            await api.knows_store()
            await operator.settle()
            full = {"demo-root": 2, "demo-eu": 3, "demo-us": 2}
            assert await replicas(api) == full
            us = (await api.get(STATEFUL_SET, "demo-us"))["metadata"]["uid"]
            await api.put(manifest({"eu": 1, "asia": 1}))
            await operator.settle()
            assert await replicas(api) == {**full, "demo-asia": 1}
            assert (await api.conditions())["ScaleDownBlocked"] == ("True", "MembersWouldBeLost")
            assert "MembersWouldBeLost" in await events(api)
            await api.put(manifest({"eu": 4, "us": 2, "asia": 1}, roots=2))  # taken back
            await operator.settle()
            assert await replicas(api) == {**full, "demo-eu": 4, "demo-asia": 1}
            assert (await api.conditions())["ScaleDownBlocked"] == ("False", "NothingToRemove")
            assert (await api.get(STATEFUL_SET, "demo-us"))["metadata"]["uid"] == us
            await api.put(manifest({"eu": 1, "asia": 1}, scaleDown=FORCE))
            await until(
                lambda: _settled_to(api, operator, {"demo-root": 1, "demo-eu": 1, "demo-asia": 1}), "less"
            )
            assert not [
                name for kind in OWNED for name in await api.names(kind) if name.startswith("demo-us")
            ]
            assert "Removed" in await events(api)

    api.run(scenario)


async def _settled_to(api, operator, wanted):
    await operator.settle()
    return await replicas(api) == wanted


def test_a_paused_cluster_is_left_alone_and_a_paused_region_too(api):
    async def scenario():
        await api.put(manifest({"eu": 1, "us": 1}, security=GENERATED))
        async with api.operator() as operator:
            await operator.settle()
            await api.put(manifest({"eu": 1, "us": 2}, image=IMAGE, paused=True, security=GENERATED))
            uid = (await api.get(SERVICE, "demo-us"))["metadata"]["uid"]
            await api.kube.delete(SERVICE, api.namespace, "demo-us", uid)
            wrote = await operator.reconcile()
            assert {kind for kind, _ in wrote} == {"PeersDBCluster", "Event"}
            assert (await api.conditions())["Paused"] == ("True", "SpecPaused")
            assert await operator.reconcile() == []
            paused = {"name": "eu", "replicas": 1, "paused": True}
            await api.put(manifest({"eu": paused, "us": 2}, image=IMAGE, security=GENERATED))
            await operator.settle()
            images = {it["metadata"]["name"]: template_of(it)["image"] for it in await api.all(STATEFUL_SET)}
            assert images == {
                "demo-root": "peersdb/node:2", "demo-eu": "peersdb/node:1", "demo-us": "peersdb/node:2",
            }  # fmt: skip
            assert "demo-us" in await api.names(SERVICE)
            await api.put(manifest({"eu": 1, "us": 2}, image=IMAGE, security=GENERATED))
            await operator.settle()
            assert template_of(await api.get(STATEFUL_SET, "demo-eu"))["image"] == "peersdb/node:2"

    api.run(scenario)


def a_service(name, **metadata):
    spec = {"ports": [{"port": 1, "protocol": "TCP"}], "selector": {"a": "b"}}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, **metadata}, "spec": spec}


def test_a_name_that_is_taken_is_said_and_left_to_its_owner(api):
    async def scenario():
        theirs = await api.kube.create(SERVICE, a_service("demo-eu", namespace=api.namespace))
        await api.put(manifest())
        async with api.operator() as operator:
            await operator.settle()
            assert (await api.conditions())["Degraded"] == ("True", "NameTaken")
            assert operator.later  # it looks again: nobody tells when the name is free
            seen = await api.get(SERVICE, "demo-eu")
            assert seen["metadata"]["resourceVersion"] == theirs["metadata"]["resourceVersion"]
            assert {"demo-root", "demo"} <= set(await api.names(SERVICE))
            await api.kube.delete(SERVICE, api.namespace, "demo-eu", theirs["metadata"]["uid"])
            await operator.settle()
            assert (await api.conditions())["Degraded"] == ("False", "AsSpecified")
            assert controller_of(await api.get(SERVICE, "demo-eu"))["name"] == "demo"

    api.run(scenario)


def test_two_clusters_that_mean_the_same_names_do_not_fight(api):
    """`a` with region `b-c` and `a-b` with region `c`."""

    async def scenario():
        await api.put(manifest({"b-c": 1}, name="a"))
        await api.put(manifest({"c": 2}, name="a-b"))
        async with api.operator() as operator:
            await operator.settle("a")
            before = await api.get(STATEFUL_SET, "a-b-c")
            await operator.settle("a-b")
            wrote = await operator.reconcile("a") + await operator.reconcile("a-b")
            assert {kind for kind, _ in wrote} <= {"PeersDBCluster", "Event"}
            after = await api.get(STATEFUL_SET, "a-b-c")
            assert after["metadata"]["uid"] == before["metadata"]["uid"]
            assert controller_of(after)["name"] == "a"
            assert (await api.conditions("a"))["Degraded"][0] == "False"
            assert (await api.conditions("a-b"))["Degraded"] == ("True", "NameTaken")

    api.run(scenario)


def test_a_cluster_that_is_deleted_and_made_again_at_once_waits_for_the_old_one_to_go(api):
    async def scenario():
        old = await api.put(manifest(security=GENERATED))
        async with api.operator() as operator:
            await operator.settle()
            key = (await api.get(SECRET, "demo-key"))["metadata"]["uid"]
            await api.kube.delete(CLUSTER, api.namespace, "demo", old["metadata"]["uid"])
            new = await api.put(manifest(security=GENERATED))
            assert new["metadata"]["uid"] != old["metadata"]["uid"]
            await until(lambda: _belongs_to(api, operator, new), "all is the new one's")
            assert (await api.get(SECRET, "demo-key"))["metadata"]["uid"] != key
            assert (await api.conditions())["Degraded"] == ("False", "AsSpecified")

    api.run(scenario)


async def _belongs_to(api, operator, cluster):
    with contextlib.suppress(Conflict):  # as the queue does, which comes back
        await operator.reconcile()
    owners = [
        controller_of(obj) for kind in OWNED for obj in await api.all(kind, "app.kubernetes.io/instance=demo")
    ]
    return len(owners) >= 10 and all(owner["uid"] == cluster["metadata"]["uid"] for owner in owners)


def test_what_a_cluster_was_made_of_goes_with_it(api):
    async def scenario():
        made = await api.put(manifest(security=GENERATED))
        async with api.operator() as operator:
            await operator.settle()
            await api.kube.delete(CLUSTER, api.namespace, "demo", made["metadata"]["uid"])
            assert await operator.reconcile() == []
            await until(lambda: _nothing_left(api), "nothing is left")
            assert operator.tools().metrics._series == {}
            assert operator.tools().applied == {}

    api.run(scenario)


async def _nothing_left(api):
    return not [
        name for kind in (*OWNED, POD) for name in await api.names(kind, "app.kubernetes.io/instance=demo")
    ]
