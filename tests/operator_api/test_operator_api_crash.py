"""Any crash between two writes, any order of events and any stale knowledge end in the same state."""

import asyncio
import contextlib
import itertools
import random

import pytest
from api_support import FORCE, GENERATED, manifest, until

from peersdb_operator.kube.kinds import OWNED, STATEFUL_SET

SMALL = manifest({"eu": 1}, security=GENERATED, scaleDown=FORCE)
OTHER = manifest(
    {"eu": 2, "us": 1},
    image={"repository": "peersdb/node", "tag": "2"},
    security={"apiTokenSecretRef": GENERATED["apiTokenSecretRef"]},
    network={"networkPolicy": {"enabled": False}},
    scaleDown=FORCE,
)


class Died(BaseException):
    """The process is gone: nothing can catch it, and nothing is written after it."""


def dying_at(count):
    """Die at the write of that number, so that so many are made."""
    numbers = itertools.count()

    def on_write(_kind, _verb):
        if next(numbers) >= count:
            raise Died

    return on_write


async def crash(api, count, random_=None):
    """Reconcile with an operator that dies after so many writes; tells whether it came that far."""
    async with api.operator(on_write=dying_at(count), random=random_) as operator:
        with contextlib.suppress(Died):
            await operator.reconcile()
            return False
    return True


async def settled(api, wanted=None):
    """Let a new operator work until the cluster is at rest, and what the controllers have to do is done."""
    async with api.operator() as operator:
        await operator.settle()
        while wanted is not None and await api.snapshot() != wanted:
            await asyncio.sleep(0.05)
            await operator.settle()
        return await api.snapshot()


@pytest.mark.parametrize("first", [2, *(pytest.param(first, marks=pytest.mark.slow) for first in (0, 1, 3))])
def test_a_crash_at_any_write_of_the_creation_ends_in_the_same_state(api, first):
    """At every fourth write, each time from another one on."""

    async def scenario():
        await api.put(SMALL)
        wanted = await settled(api)
        namespace = api.namespace
        for count in itertools.count(first, 4):
            api.namespace = f"{namespace}-{count}"
            await api.make_namespace(api.namespace)
            await api.put(SMALL)
            if not await crash(api, count):
                break
            assert await settled(api) == wanted, f"after {count} writes"
        assert count > 12

    api.run(scenario)


@pytest.mark.slow
def test_a_crash_at_any_write_of_a_change_ends_in_the_same_state(api):
    """To and fro between two manifests: regions come and go, secrets and a policy too, pods are rolled."""

    async def scenario():
        wanted = []
        for one in (SMALL, OTHER, SMALL):
            await api.put(one)
            async with api.operator() as operator:
                await operator.settle()
                await api.knows_store()
                await until(
                    lambda operator=operator, one=one: _has_regions(api, operator, one),
                    "regions are as wanted",
                )
                wanted.append(await api.snapshot())
        assert wanted[0] == wanted[2]
        finished = set()
        for count in itertools.count():
            for index, one in ((1, OTHER), (0, SMALL)):
                await api.put(one)
                if not await crash(api, count):
                    finished.add(index)
                async with asyncio.timeout(20):
                    assert await settled(api, wanted[index]) == wanted[index]
            if finished == {0, 1}:
                break
        assert count > 5

    api.run(scenario)


async def _has_regions(api, operator, one):
    await operator.settle()
    regions = {region["name"] for region in one["spec"]["regions"]}
    return {name.removeprefix("demo-") for name in await api.names(STATEFUL_SET)} == {"root", *regions}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
def test_any_order_of_changes_and_looks_ends_in_the_same_state(api, seed):
    """The operator sees some kinds and not others, is killed and started; the manifest and hands change things."""

    async def scenario():
        choose = random.Random(seed)
        await api.put(choose.choice([SMALL, OTHER]))
        async with api.operator() as operator:
            for _ in range(25):
                step = choose.choice(["manifest", "look", "look", "look", "kill", "delete", "scale"])
                if step == "manifest":
                    await api.put(choose.choice([SMALL, OTHER]))
                elif step == "kill":
                    operator.forget()
                elif step == "look":
                    await operator.reconcile_seeing(choose.sample(OWNED, choose.randint(0, len(OWNED))))
                else:
                    await _disturb(api, choose, step)
            await api.put(OTHER)
            await api.knows_store()
            await operator.settle()
            await until(lambda: _has_regions(api, operator, OTHER), "regions are as wanted")
            disturbed = await api.snapshot()
        api.namespace += "-calm"
        await api.make_namespace(api.namespace)
        await api.put(OTHER)
        await settled(api)
        await api.knows_store()
        assert await settled(api) == disturbed

    api.run(scenario)


async def _disturb(api, choose, step):
    found = [(kind, obj) for kind in OWNED for obj in await api.all(kind, "app.kubernetes.io/instance=demo")]
    if step == "scale":
        found = [(kind, obj) for kind, obj in found if kind is STATEFUL_SET]
    if not found:
        return
    kind, obj = choose.choice(found)
    name = obj["metadata"]["name"]
    if step == "scale":
        await api.kube.merge(kind, api.namespace, name, {"spec": {"replicas": choose.randint(0, 4)}})
    elif kind.kind != "Secret":  # what is in it would not come back, but be made anew
        await api.kube.delete(kind, api.namespace, name, obj["metadata"]["uid"])


def test_members_are_not_taken_away_by_an_operator_whose_knowledge_is_old(api):
    async def scenario():
        await api.put(manifest({"eu": 2}))
        async with api.operator() as old:
            await old.settle()
            await api.put(manifest({"eu": 4}))
            async with api.operator() as other:
                await other.settle()
            await api.put(manifest({"eu": 2}, image={"repository": "peersdb/node", "tag": "2"}))
            await old.reconcile_seeing([])  # its watches are behind: for it there are 2
            assert (await api.get(STATEFUL_SET, "demo-eu"))["spec"]["replicas"] == 4
            assert old.later
            await old.settle()
            assert (await api.get(STATEFUL_SET, "demo-eu"))["spec"]["replicas"] == 4
        assert (await api.conditions())["ScaleDownBlocked"] == ("True", "MembersWouldBeLost")

    api.run(scenario)
