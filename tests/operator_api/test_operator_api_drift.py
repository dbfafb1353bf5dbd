"""What hands and other programs do to the operator's objects comes back, but for what is theirs to say."""

from api_support import GENERATED, manifest, plain

from peersdb_operator.kube.kinds import (
    CONFIG_MAP,
    DISRUPTION_BUDGET,
    NETWORK_POLICY,
    OWNED,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
)

MERGE, JSON, STRATEGIC = "merge-patch", "json-patch", "strategic-merge-patch"
CONTAINER = "/spec/template/spec/containers/0"


def add(path, value):
    return JSON, [{"op": "add", "path": path, "value": value}]


def remove(path):
    return JSON, [{"op": "remove", "path": path}]


def spec(**fields):
    return MERGE, {"spec": fields}


def metadata(**fields):
    return MERGE, {"metadata": fields}


TEMPLATE = "/spec/template/spec"
EDITS = {
    "a port added": (SERVICE, "demo", add("/spec/ports/-", {"name": "x", "port": 99, "protocol": "TCP"})),
    "a port changed": (SERVICE, "demo", add("/spec/ports/0/port", 99)),
    "a selector label added": (SERVICE, "demo", spec(selector={"more": "x"})),
    "a selector label removed": (SERVICE, "demo", spec(selector={"app.kubernetes.io/name": None})),
    "another type": (SERVICE, "demo", spec(type="NodePort")),
    "affinity": (SERVICE, "demo", spec(sessionAffinity="ClientIP")),
    "not before ready": (SERVICE, "demo-eu", spec(publishNotReadyAddresses=False)),
    "a port removed": (SERVICE, "demo-eu", remove("/spec/ports/1")),
    "the stamp removed": (SERVICE, "demo", metadata(annotations={"peersdb.io/applied": None})),
    "a label added": (SERVICE, "demo", metadata(labels={"more": "x"})),
    "our label removed": (SERVICE, "demo", metadata(labels={"app.kubernetes.io/managed-by": None})),
    "another cluster's label": (SERVICE, "demo", metadata(labels={"app.kubernetes.io/instance": "other"})),
    "the owner removed": (SERVICE, "demo", metadata(ownerReferences=None)),
    "a variable added": (STATEFUL_SET, "demo-eu", add(f"{CONTAINER}/env/-", {"name": "X", "value": "1"})),
    "a variable removed": (STATEFUL_SET, "demo-eu", remove(f"{CONTAINER}/env/0")),
    "a variable changed": (
        STATEFUL_SET, "demo-eu",
        (STRATEGIC, {"spec": {"template": {"spec": {"containers": [
            {"name": "peersdb", "env": [{"name": "POD_NAME", "value": "x", "valueFrom": None}]}]}}}}),
    ),
    "another image": (STATEFUL_SET, "demo-eu", add(f"{CONTAINER}/image", "evil:1")),
    "an argument": (STATEFUL_SET, "demo-eu", add(f"{CONTAINER}/args/-", "-x")),
    "another number": (STATEFUL_SET, "demo-eu", add(f"{CONTAINER}/args/2", "8080.0")),
    "a container": (STATEFUL_SET, "demo-eu", add(f"{TEMPLATE}/containers/-", {"name": "x", "image": "x"})),
    "an init container": (STATEFUL_SET, "demo-eu", add(f"{TEMPLATE}/initContainers", [{"name": "x", "image": "x"}])),
    "a volume": (STATEFUL_SET, "demo-eu", add(f"{TEMPLATE}/volumes/-", {"name": "x", "emptyDir": {}})),
    "a place": (STATEFUL_SET, "demo-eu", spec(template={"spec": {"nodeSelector": {"disk": "fast"}}})),
    "a privilege": (
        STATEFUL_SET, "demo-eu", add(f"{CONTAINER}/securityContext/capabilities/add", ["SYS_ADMIN"]),
    ),
    "a toleration": (STATEFUL_SET, "demo-eu", add(f"{TEMPLATE}/tolerations", [{"operator": "Exists"}])),
    "less memory": (STATEFUL_SET, "demo-eu", add(f"{CONTAINER}/resources/limits/memory", "300Mi")),
    "another limit": (STATEFUL_SET, "demo-eu", add(f"{CONTAINER}/resources/limits/cpu", "1")),
    "a pod's label": (STATEFUL_SET, "demo-eu", spec(template={"metadata": {"labels": {"more": "x"}}})),
    "a pod's annotation": (STATEFUL_SET, "demo-eu", spec(template={"metadata": {"annotations": {"more": "x"}}})),
    "no probe": (STATEFUL_SET, "demo-eu", remove(f"{CONTAINER}/livenessProbe")),
    "scaled up": (STATEFUL_SET, "demo-eu", spec(replicas=7)),
    "scaled down": (STATEFUL_SET, "demo-eu", spec(replicas=0)),
    "no decision": (STATEFUL_SET, "demo-eu", metadata(annotations={"peersdb.io/replicas": None})),
    "no updates": (STATEFUL_SET, "demo-eu", spec(updateStrategy={"type": "OnDelete", "rollingUpdate": None})),
    "a rule added": (NETWORK_POLICY, "demo", add("/spec/ingress/-", {})),
    "a peer added": (NETWORK_POLICY, "demo", add("/spec/ingress/0/from/-", {"namespaceSelector": {}})),
    "more ports": (NETWORK_POLICY, "demo", add("/spec/ingress/0/ports/0/endPort", 65535)),
    "another rule": (NETWORK_POLICY, "demo", add("/spec/policyTypes", ["Ingress", "Egress"])),
    "fewer pods": (NETWORK_POLICY, "demo", spec(podSelector={"matchLabels": {"more": "x"}})),
    "no disruption": (DISRUPTION_BUDGET, "demo-eu", spec(maxUnavailable=0)),
    "at least": (DISRUPTION_BUDGET, "demo-eu", spec(maxUnavailable=None, minAvailable=1)),
    "others' pods": (DISRUPTION_BUDGET, "demo-eu", spec(selector={"matchLabels": {"more": "x"}})),
    "data changed": (CONFIG_MAP, "demo", (MERGE, {"data": {"storeAddress": "/orbitdb/other"}})),
    "data added": (CONFIG_MAP, "demo", (MERGE, {"data": {"more": "x"}})),
    "a token": (SERVICE_ACCOUNT, "demo", (MERGE, {"automountServiceAccountToken": True})),
    "a secret's owner removed": (SECRET, "demo-token", metadata(ownerReferences=None)),
    "a secret's label removed": (SECRET, "demo-key", metadata(labels={"app.kubernetes.io/managed-by": None})),
}  # fmt: skip


async def edit(api, kind, name, how, subresource=""):
    """Change an object as `kubectl edit` or `kubectl scale` does."""
    content, body = how
    return await api.kube._json(
        "PATCH",
        kind.path(api.namespace, name, subresource),
        {"fieldManager": "kubectl-edit"},
        body=body,
        content=f"application/{content}+json",
    )


async def rest(api, operator):
    await api.put(manifest(security=GENERATED))
    await operator.settle()
    await api.knows_store()
    await operator.settle()
    return await api.snapshot()


def test_whatever_a_hand_changes_comes_back(api):
    """One after the other, seen by an operator that remembers all before and by one that knows nothing, in turn."""

    async def scenario():
        async with api.operator() as operator, api.operator() as other:
            wanted = await rest(api, operator)
            await other.reconcile()
            for number, (what, (kind, name, how)) in enumerate(EDITS.items()):
                before = await api.get(kind, name)
                after = await edit(api, kind, name, how)
                assert after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"], what
                hand = (operator, other)[number % 2]
                if number % 2:
                    hand.tools().applied.clear()
                for _ in range(5):  # labels first, then what is seen by them
                    if plain(await api.get(kind, name)) == wanted[kind.kind, name]:
                        break
                    await hand.reconcile_seeing([kind])
                assert plain(await api.get(kind, name)) == wanted[kind.kind, name], what
            await operator.settle()
            assert await api.snapshot() == wanted

    api.run(scenario)


def test_whatever_a_hand_deletes_comes_back(api):
    async def scenario():
        async with api.operator() as operator:
            wanted = await rest(api, operator)
            for kind in OWNED:
                for name in [name for of, name in wanted if of == kind.kind]:
                    uid = (await api.get(kind, name))["metadata"]["uid"]
                    await api.kube.delete(kind, api.namespace, name, uid)
                await operator.settle()
                assert await api.snapshot() == wanted, kind

    api.run(scenario)


def test_the_scale_subresource_is_a_hand_too(api):
    async def scenario():
        async with api.operator() as operator:
            wanted = await rest(api, operator)
            for replicas in (0, 9):
                await edit(api, STATEFUL_SET, "demo-eu", spec(replicas=replicas), "scale")
                await operator.settle()
                assert await api.snapshot() == wanted
            assert (await api.conditions())["ScaleDownBlocked"] == ("False", "NothingToRemove")

    api.run(scenario)


def test_a_rollout_restart_is_kept(api):
    async def scenario():
        async with api.operator() as operator:
            await rest(api, operator)
            api.kubectl("rollout", "restart", "statefulset/demo-eu")
            restarted = await api.get(STATEFUL_SET, "demo-eu")
            assert ("StatefulSet", "apply") not in await operator.reconcile()
            # Also when something else about the object has to be undone, and by an operator that knows nothing.
            await edit(api, STATEFUL_SET, "demo-eu", EDITS["a variable added"][2])
            async with api.operator() as another:
                await another.settle()
            after = await api.get(STATEFUL_SET, "demo-eu")
            assert plain(after) == plain(restarted)
            assert "kubectl.kubernetes.io/restartedAt" in after["spec"]["template"]["metadata"]["annotations"]

    api.run(scenario)


def test_what_other_programs_say_of_an_object_is_theirs(api):
    async def scenario():
        async with api.operator() as operator:
            await rest(api, operator)
            await edit(api, SERVICE, "demo", metadata(annotations={"their.io/note": "x"}))
            await edit(api, SERVICE, "demo", metadata(finalizers=["their.io/finalizer"]))
            await edit(api, SERVICE_ACCOUNT, "demo", (MERGE, {"imagePullSecrets": [{"name": "theirs"}]}))
            before = await api.versions()
            assert await operator.reconcile() == []
            assert await api.versions() == before
            await edit(api, SERVICE, "demo", metadata(finalizers=None))

    api.run(scenario)
