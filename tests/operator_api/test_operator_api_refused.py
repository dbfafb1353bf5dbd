"""What the API server, or this operator, does not take: it is said, and the rest goes on."""

import contextlib

import pytest
from api_support import manifest, until
from test_operator_api_changes import events, replicas

from peersdb_operator.errors import Unavailable
from peersdb_operator.kube.kinds import CLUSTER, Kind

WEBHOOK = Kind(
    "admissionregistration.k8s.io/v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
    namespaced=False,
)


def test_what_the_api_server_refuses_is_said_and_the_rest_goes_on(api):
    """A region that is taken out and put in again with another storage: its StatefulSet is still the old one."""

    async def scenario():
        await api.put(manifest({"eu": 1, "us": 1}))
        async with api.operator() as operator:
            await operator.settle()
            await api.put(manifest({"eu": 1}))
            await operator.settle()
            other = {"replicas": 1, "storage": {"ephemeral": False, "size": "1Gi"}}
            await api.put(manifest({"eu": 2, "us": other}))
            await operator.settle_in_trouble()
            assert (await api.conditions())["Degraded"] == ("True", "ApplyRefused")
            status = (await api.get(CLUSTER, "demo"))["status"]
            message = next(c["message"] for c in status["conditions"] if c["type"] == "Degraded")
            assert "StatefulSet demo-us" in message
            assert "ApplyRefused" in await events(api)
            assert (await replicas(api))["demo-eu"] == 2

    api.run(scenario)


def test_a_failing_webhook_of_one_kind_is_said_and_the_rest_goes_on(api):
    async def scenario():
        hook = {
            "name": f"{api.namespace}.fails.io",
            "clientConfig": {"url": "https://127.0.0.1:1/"},
            "rules": [{"apiGroups": ["policy"], "apiVersions": ["v1"], "operations": ["*"],
                       "resources": ["poddisruptionbudgets"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": api.namespace}},
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": 1,
        }  # fmt: skip
        metadata = {"name": api.namespace}
        named = {
            "apiVersion": WEBHOOK.api_version,
            "kind": WEBHOOK.kind,
            "metadata": metadata,
            "webhooks": [hook],
        }
        made = await api.kube.create(WEBHOOK, named)
        await until(lambda: _fails(api), "the webhook counts")
        await api.put(manifest())
        async with api.operator() as operator:
            with pytest.raises(Unavailable, match="failed calling webhook"):
                await operator.reconcile()
            assert (await api.conditions())["Degraded"] == ("True", "ApplyFailed")
            assert set(await replicas(api)) == {"demo-root", "demo-eu"}
            await api.kube.delete(WEBHOOK, None, api.namespace, made["metadata"]["uid"])
            await until(lambda: _heals(api, operator), "it heals")

    api.run(scenario)


async def _fails(api):
    budget = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "x"}}
    budget["metadata"]["namespace"] = api.namespace
    try:
        await api.kube.apply(Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"), budget)
    except Unavailable:
        return True
    return False


async def _heals(api, operator):
    with contextlib.suppress(Unavailable):
        await operator.reconcile()
    return (await api.conditions())["Degraded"] == ("False", "AsSpecified")


def test_a_manifest_that_this_operator_cannot_read_changes_nothing_and_is_said_once(api):
    """As one that a later release allows, or that was there before a rule was."""

    async def scenario():
        await api.put(manifest())
        async with api.operator() as operator:
            await operator.settle()
            before = await api.snapshot()
            get = operator.kube.get

            async def later(kind, namespace, name):
                found = await get(kind, namespace, name)
                if kind is CLUSTER:
                    found["spec"]["regions"][0]["mode"] = "Later"
                return found

            operator.kube.get = later
            assert ("PeersDBCluster", "apply") in await operator.reconcile()
            assert await operator.reconcile() == []
            assert (await api.conditions())["Degraded"] == ("True", "InvalidSpec")
            assert "InvalidSpec" in await events(api)
            assert await api.snapshot() == before
            operator.kube.get = get
            await operator.settle()
            assert (await api.conditions())["Degraded"] == ("False", "AsSpecified")

    api.run(scenario)
