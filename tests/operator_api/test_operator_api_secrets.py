"""Secrets: made, renewed, missing, somebody else's."""

import base64
import itertools

import pytest
from api_support import GENERATED, manifest, until
from test_operator_api_crash import crash

from peersdb_operator.kube import secrets
from peersdb_operator.kube.kinds import CLUSTER, POD, SECRET, STATEFUL_SET, Kind
from peersdb_operator.names import (
    ROTATE_API_TOKEN_ANNOTATION,
    ROTATE_SWARM_KEY_ANNOTATION,
    SWARM_KEY_ANNOTATION,
)


def counting(first=1):
    """Random bytes that are told apart."""
    numbers = itertools.count(first)
    return lambda size: bytes([next(numbers)]) * size


def asking(**rotate):
    keys = {"token": ROTATE_API_TOKEN_ANNOTATION, "key": ROTATE_SWARM_KEY_ANNOTATION}
    annotations = {keys[what]: wish for what, wish in rotate.items()}
    return manifest(security=GENERATED, annotations=annotations)


async def text(api, name, use):
    return secrets.text_of(await api.get(SECRET, name), use.key)


async def tokens(api):
    return secrets.tokens(await api.get(SECRET, "demo-token"))


def a_secret(api, name, **data):
    encoded = {
        key.replace("_", "."): base64.b64encode(value.encode()).decode() for key, value in data.items()
    }
    metadata = {"name": name, "namespace": api.namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded}


async def trouble(api):
    status = (await api.get(CLUSTER, "demo"))["status"]
    return next((c["reason"], c["message"]) for c in status["conditions"] if c["type"] == "Degraded")


def test_a_rotated_token_is_in_front_and_the_old_one_still_good_and_no_pod_is_restarted(api):
    async def scenario():
        await api.put(asking())
        async with api.operator(random=counting()) as operator:
            await operator.settle()
            (first,) = await tokens(api)
            before = await api.versions()
            await api.put(asking(token="1"))
            await operator.settle()
            second, old = await tokens(api)
            assert old == first != second
            assert await operator.reconcile() == []  # once
            after = await api.versions()
            assert {key for key in after if after[key] != before[key]} == {
                ("Secret", "demo-token"), ("PeersDBCluster", "demo"),
            }  # fmt: skip
            await api.put(asking(token="2"))
            await operator.settle()
            assert (await tokens(api))[1] == second
            await api.put(asking())
            assert ("Secret", "apply") not in await operator.reconcile()

    api.run(scenario)


def test_a_crash_in_the_middle_of_a_rotation_rotates_once(api):
    async def scenario():
        await api.put(asking())
        async with api.operator(random=counting()) as operator:
            await operator.settle()
        random = counting(10)
        for count in (1, 3):  # before the second Secret, and after both
            (first, *_) = await tokens(api)
            key = await text(api, "demo-key", secrets.SWARM_KEY)
            await api.put(asking(token=f"t{count}", key=f"k{count}"))
            await crash(api, count, random)
            async with api.operator(random=random) as operator:
                await operator.settle()
            found = await tokens(api)
            assert (len(found), found[1]) == (2, first)
            assert await text(api, "demo-key", secrets.SWARM_KEY) != key

    api.run(scenario)


def test_a_new_swarm_key_restarts_all_pods_at_once(api):
    """Those of the old key would be alone: no one of them waits for another."""

    async def scenario():
        await api.put(asking())
        async with api.operator(random=counting()) as operator:
            await operator.settle()
            await until(lambda: _pods(api, 3), "the pods are there")
            await api.play_kubelet()
            await operator.settle()
            old = {pod["metadata"]["uid"] for pod in await api.all(POD)}
            await api.put(asking(key="1"))
            await until(lambda: _renewed(api, operator, old), "all pods have the new key")
            template = (await api.get(STATEFUL_SET, "demo-eu"))["spec"]["template"]["metadata"]
            hashed = secrets.hash_of(await text(api, "demo-key", secrets.SWARM_KEY))
            assert template["annotations"][SWARM_KEY_ANNOTATION] == hashed
            reasons = [event["reason"] for event in await api.all(Kind("v1", "Event", "events"))]
            # The controller replaces the last pod of a group and would wait until that is ready, which it cannot be.
            assert "SwarmKeyChanged" in reasons

    api.run(scenario)


async def _pods(api, count):
    return len(await api.names(POD)) == count


async def _renewed(api, operator, old):
    await operator.settle()
    new = await api.all(POD)
    return len(new) == 3 and not old & {pod["metadata"]["uid"] for pod in new}


@pytest.mark.parametrize("name", ["demo-token", "demo-key"])
def test_a_secret_that_somebody_else_made_is_used_and_never_written(api, name):
    use = secrets.API_TOKEN if name == "demo-token" else secrets.SWARM_KEY

    async def scenario():
        theirs = a_secret(api, name, **{use.key.replace(".", "_"): "a secret of theirs"})
        made = await api.kube.create(SECRET, theirs)
        await api.put(asking())
        async with api.operator() as operator:
            await operator.settle()
            assert (await trouble(api))[0] == "AsSpecified"
            await api.put(asking(token="1", key="1"))
            await operator.settle()
            reason, message = await trouble(api)
            assert reason == "SecretNotOurs"
            assert f"Secret {name} was not made by the operator" in message
        assert (await api.get(SECRET, name))["metadata"]["resourceVersion"] == made["metadata"][
            "resourceVersion"
        ]

    api.run(scenario)


def test_a_secret_that_is_not_to_be_made_is_waited_for(api):
    given = {"apiTokenSecretRef": {"name": "theirs"}, "swarmKeySecretRef": {"name": "theirs"}}

    async def scenario():
        await api.put(manifest(security=given))
        async with api.operator() as operator:
            await operator.settle()
            reason, message = await trouble(api)
            assert reason == "SecretMissing"
            assert "no Secret theirs with the key 'token'" in message
            assert "no Secret theirs with the key 'swarm.key'" in message
            assert "theirs" not in await api.names(SECRET)
            await api.kube.create(SECRET, a_secret(api, "theirs", token="t" * 20, swarm_key="k" * 64))
            await operator.settle()
            assert (await trouble(api))[0] == "AsSpecified"
            assert (await api.get(STATEFUL_SET, "demo-eu"))["spec"]["template"]["metadata"]["annotations"]

    api.run(scenario)


def test_a_secret_that_lacks_its_key_is_not_completed_by_us(api):
    async def scenario():
        await api.kube.create(SECRET, a_secret(api, "demo-token", other="x"))
        await api.put(asking())
        async with api.operator() as operator:
            await operator.settle()
            reason, message = await trouble(api)
            assert (reason, "lacks the key 'token'" in message) == ("SecretNotOurs", True)
            assert list((await api.get(SECRET, "demo-token"))["data"]) == ["other"]

    api.run(scenario)


def test_no_secret_is_told_outside_of_its_secret(api):
    async def scenario():
        await api.put(asking())
        async with api.operator(random=lambda size: b"\xab" * size) as operator:
            await operator.settle()
            told = api.kubectl("get", "peersdbclusters,statefulsets,configmaps,pods,events", "-o", "json")
            assert "abab" * 8 not in told

    api.run(scenario)
