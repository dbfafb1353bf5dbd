"""One idempotent reconcile of one cluster: read, decide, write what differs, say how it stands.

Any order of events and any crash between two writes ends in the same state, because nothing is remembered that the
API server does not have: what is kept in memory (the fingerprints of what was applied) only saves requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from peersdb_operator import builders, names
from peersdb_operator import cluster as manifests
from peersdb_operator.cluster import Cluster, SecretRef
from peersdb_operator.errors import Conflict, ManifestError, NotFound, Refused, Unavailable
from peersdb_operator.kube import conditions, desired, drift, secrets
from peersdb_operator.kube.cache import Cache, Key, reduced
from peersdb_operator.kube.client import Kube
from peersdb_operator.kube.conditions import Trouble
from peersdb_operator.kube.events import Events
from peersdb_operator.kube.kinds import (
    BY_NAME,
    CLUSTER,
    POD,
    SECRET,
    STATEFUL_SET,
    Kind,
    Object,
    controller_of,
    name_of,
)
from peersdb_operator.kube.metrics import Metrics
from peersdb_operator.kube.observed import ObjectKey, Observed, PodFacts, observe, store_address
from peersdb_operator.kube.poller import Poller, Target
from peersdb_operator.status import made as made_condition

log = logging.getLogger("peersdb.reconcile")

#: A status is written at most once in so many seconds, unless a condition changed.
STATUS_INTERVAL = 5.0
#: Requests of one reconcile on the way at once.
AT_ONCE = 8
#: An owner that is gone takes its objects with it within seconds; a cluster of the same name waits for that.
OLD_OWNER_RETRY = 2.0
#: What a webhook that fails is answered by, and what else concerns one object alone.
INTERNAL_ERROR = 500
#: A cluster is looked at again after so many seconds while something about it is not as it should be.
TROUBLE_RETRY = 30.0


@dataclass(frozen=True, slots=True)
class Environment:
    """What a reconciler needs of the world.

    Attributes:
        now: seconds since the epoch.
        clock: seconds that never go back.
        random: gives so many random bytes.
        namespace: the operator's own.
    """

    now: Callable[[], float]
    clock: Callable[[], float]
    random: Callable[[int], bytes]
    namespace: str


@dataclass(slots=True)
class Tools:
    """What a reconcile works with.

    Attributes:
        kube: the API server.
        cache: what the watches have told.
        poller: what pods say of themselves.
        events: for people.
        metrics: for Prometheus.
        environment: time and randomness.
        nodes_visible: whether Kubernetes nodes can be read.
        again: called with a key and seconds where a cluster is to be looked at again.
        cut: gives the region of a cluster that a benchmark has cut off, and for how many seconds.
        applied: of each object, the stamp of what was wanted and the fingerprint of what was there when it was right,
            which saves applying it again.
        status_written: when the status was last written.
    """

    kube: Kube
    cache: Cache
    poller: Poller
    events: Events
    metrics: Metrics
    environment: Environment
    nodes_visible: Callable[[], bool]
    again: Callable[[Key, float], None]
    cut: Callable[[Key], tuple[str, float]] = lambda _key: ("", 0.0)
    applied: dict[Key, dict[ObjectKey, tuple[str, str]]] = field(default_factory=dict)
    status_written: dict[Key, float] = field(default_factory=dict)

    def forget(self, key: Key) -> None:
        """A cluster is gone."""
        self.poller.forget(key)
        self.metrics.forget(key)
        self.applied.pop(key, None)
        self.status_written.pop(key, None)


class Reconciler:
    """Makes clusters what their manifests say."""

    def __init__(self, tools: Tools) -> None:
        """Works with ``tools``."""
        self._tools = tools

    async def reconcile(self, key: Key) -> None:
        """Bring one cluster nearer to what its manifest says.

        Raises:
            KubeError: the API server was in the way; try again later.
        """
        try:
            resource = await self._tools.kube.get(CLUSTER, *key)
        except NotFound:
            self._tools.forget(key)
            return
        if "deletionTimestamp" in resource["metadata"]:
            self._tools.forget(key)  # what it is made of goes with it, by the owner references
            return
        try:
            parsed = manifests.from_object(resource)
        except ManifestError as error:
            await self._refuse(resource, error)
            return
        tools = self._tools
        observed = observe(tools.cache, key, tools.poller.facts(key), nodes_visible=tools.nodes_visible())
        await _Pass(tools, key, resource, parsed, observed).run()

    async def _refuse(self, resource: Object, error: ManifestError) -> None:
        """Says that a manifest means nothing to this operator; what runs goes on."""
        message = "; ".join(str(fault) for fault in error.faults[:3])
        before = resource.get("status") or {}
        kept = [c for c in before.get("conditions", []) if c["type"] != "Degraded"]
        degraded = made_condition(
            "Degraded",
            ("True", "InvalidSpec", message),
            generation=resource["metadata"]["generation"],
            previous=before,
            now=self._tools.environment.now(),
        )
        after = {**before, "phase": "Degraded", "conditions": [*kept, degraded]}
        if after != before:
            await _write_status(self._tools.kube, resource, after)
            await self._tools.events.post(resource, "InvalidSpec", message, warning=True)


class _Pass:
    """One reconcile: what it works on, step by step."""

    def __init__(
        self, tools: Tools, key: Key, resource: Object, cluster: Cluster, observed: Observed
    ) -> None:
        self._tools, self._kube, self._environment = tools, tools.kube, tools.environment
        self._key, self._resource, self._cluster, self._observed = key, resource, cluster, observed
        self._uid = str(resource["metadata"]["uid"])
        self._status: dict[str, Any] = resource.get("status") or {}
        self._troubles: list[Trouble] = []
        self._failure: Unavailable | None = None
        self._applied = tools.applied.setdefault(key, {})
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        facts, tokens = await self._facts()
        plan = desired.plan(self._cluster, self._uid, self._observed, facts)
        self._look_at(plan)
        if not self._cluster.paused:
            await self._carry_out(plan, facts)
        status = conditions.make(
            self._cluster,
            self._observed,
            plan,
            facts,
            self._troubles,
            generation=int(self._resource["metadata"]["generation"]),
            previous=self._status,
            now=self._environment.now(),
        )
        await self._tell(status)
        ready = status["readyReplicas"] == status["replicas"]
        eager = not ready or not facts.store_address
        self._tools.poller.watch(self._key, Target(self._cluster.http_port, tokens, eager))
        if self._troubles:
            self._tools.again(self._key, TROUBLE_RETRY)
        if self._failure is not None:
            raise self._failure

    async def _facts(self) -> tuple[builders.Facts, tuple[str, ...]]:
        """What is known beside the manifest, and the tokens to ask pods with."""
        annotations = self._resource["metadata"].get("annotations") or {}
        token = await self._secret(secrets.API_TOKEN, self._cluster.api_token, annotations)
        key = await self._secret(secrets.SWARM_KEY, self._cluster.swarm_key, annotations)
        cut, left = self._tools.cut(self._key)
        if cut:
            self._tools.again(self._key, left)  # it heals by itself
        facts = builders.Facts(
            store_address=store_address(self._observed, self._status.get("storeAddress", "")) or None,
            operator_namespace=self._environment.namespace,
            swarm_key_hash=secrets.hash_of(secrets.text_of(key, secrets.SWARM_KEY.key)),
            cut=cut,
        )
        return facts, secrets.tokens(token)

    async def _secret(
        self, use: secrets.Use, reference: SecretRef | None, annotations: Mapping[str, str]
    ) -> Object | None:
        """Reads a Secret, and makes or renews it where that is asked for."""
        if reference is None:
            return None
        namespace = self._resource["metadata"]["namespace"]
        try:
            live: Object | None = await self._kube.get(SECRET, namespace, reference.name)
        except NotFound:
            live = None
        if not reference.generate:
            if not secrets.text_of(live, use.key):
                message = (
                    f"no Secret {reference.name} with the key {use.key!r}: make it, or set generate: true"
                )
                self._troubles.append(Trouble("SecretMissing", message))
            return live
        controller = controller_of(live) if live else None
        if live and controller and self._is_old_self(controller):
            raise Conflict(f"Secret {reference.name} goes with a deleted cluster of the same name")
        wanted = secrets.wanted(use, reference.name, live, annotations, self._environment.random)
        ours = live is None or secrets.made_here(use, live, self._uid)
        if wanted is None and live is not None and ours:
            wanted = secrets.as_it_is(use, live)
        if wanted is None or self._cluster.paused:
            return live
        if not ours:
            if secrets.text_of(live, use.key):
                message = (
                    f"Secret {reference.name} was not made by the operator: put the new value into it by hand"
                )
            else:
                message = f"Secret {reference.name} lacks the key {use.key!r}: add it, or name another Secret"
            self._troubles.append(Trouble("SecretNotOurs", message))
            return live
        labelled = desired.owned(desired.labelled(wanted, self._cluster), self._cluster, self._uid)
        if live is not None and drift.covers(live, labelled):
            return live
        made = live
        with self._told(f"Secret {reference.name}"):
            made = await self._kube.apply(SECRET, labelled)
            if secrets.text_of(made, use.key) != secrets.text_of(live, use.key):
                verb = "Renewed" if live else "Made"
                await self._event(f"Secret{verb}", f"{verb.lower()} Secret {reference.name}", warning=False)
        return made

    def _is_old_self(self, controller: Object) -> bool:
        """Whether an owner is a deleted cluster of the same name, whose objects are on their way out."""
        same = controller.get("kind") == CLUSTER.kind and controller.get("name") == self._cluster.name
        return same and controller["uid"] != self._uid

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Makes a condition of what the API server refuses or fails at, so that the rest goes on."""
        try:
            yield
        except (Conflict, NotFound) as error:
            log.info("%s: %s", what, error)  # it changed meanwhile: its event brings us back
            self._tools.again(self._key, 1.0)
        except Refused as error:
            self._troubles.append(Trouble("ApplyRefused", f"{what}: {error}"))
        except Unavailable as error:
            if error.status != INTERNAL_ERROR:
                raise
            self._troubles.append(Trouble("ApplyFailed", f"{what}: {error}"))
            self._failure = error

    def _look_at(self, plan: desired.Plan) -> None:
        for obj in plan.taken:
            controller = controller_of(obj) or {}
            if self._is_old_self(controller):
                self._tools.again(self._key, OLD_OWNER_RETRY)
            else:
                owner = f"{controller.get('kind')} {controller.get('name')}"
                message = f"{obj['kind']} {name_of(obj)} belongs to {owner}: rename the cluster or a region"
                self._troubles.append(Trouble("NameTaken", message))

    async def _carry_out(self, plan: desired.Plan, facts: builders.Facts) -> None:
        first = [obj for obj in plan.apply if obj["kind"] != STATEFUL_SET.kind]
        last = [obj for obj in plan.apply if obj["kind"] == STATEFUL_SET.kind]
        for phase in (first, last):
            # Each ends before the reconcile does, also when another fails: nothing is written behind its back.
            ended = await asyncio.gather(*map(self._apply, phase), return_exceptions=True)
            for error in filter(None, ended):
                raise error
        namespace = self._resource["metadata"]["namespace"]
        for kind, name, patch in plan.patch:
            with self._told(f"{kind.kind} {name}"):
                await self._kube.merge(kind, namespace, name, patch)
        for kind, obj in plan.delete:
            with self._told(f"{kind.kind} {name_of(obj)}"):
                await self._kube.delete(kind, namespace, name_of(obj), obj["metadata"]["uid"])
                await self._event("Removed", f"removed {kind.kind} {name_of(obj)}", warning=False)
        for pod, reason in desired.pods_to_replace(self._cluster, self._observed, facts):
            with self._told(f"Pod {name_of(pod)}"):
                await self._kube.delete(POD, namespace, name_of(pod), pod["metadata"]["uid"])
                await self._event(reason, f"replaced pod {name_of(pod)}", warning=False)

    async def _apply(self, obj: Object) -> None:
        """Makes one object what it should be."""
        kind = BY_NAME[obj["kind"]]
        key = (kind.kind, name_of(obj))
        live = self._observed.objects.get(key)
        async with self._slots:
            with self._told(f"{kind.kind} {name_of(obj)}"):
                if live is None:
                    if not await self._free(kind, obj):
                        return
                elif self._applied.get(key) == (drift.stamp(obj), drift.fingerprint(live)):
                    return
                elif not drift.differs(live, obj):
                    self._applied[key] = drift.stamp(obj), drift.fingerprint(live)
                    return
                else:
                    known = {"uid": live["metadata"]["uid"]}
                    version = await self._take_over(kind, obj, live)
                    if kind is STATEFUL_SET:
                        # How many members it has was decided by just this version: a newer one may have more.
                        known["resourceVersion"] = version
                    obj = {**obj, "metadata": {**obj["metadata"], **known}}
                made = await self._kube.apply(kind, obj)
                self._applied[key] = drift.stamp(obj), drift.fingerprint(reduced(kind, made))
                self._tools.cache.put(kind, made)  # sooner than by its event

    async def _take_over(self, kind: Kind, wanted: Object, live: Object) -> str:
        """Makes ours what other managers added, so that the apply that follows removes it; gives the version then."""
        if not drift.extras(wanted, live["metadata"].get(drift.FOREIGN_FIELDS, ())):
            return str(live["metadata"]["resourceVersion"])
        whole = await self._kube.get(kind, live["metadata"]["namespace"], name_of(live))
        metadata = whole["metadata"]
        if metadata["resourceVersion"] != live["metadata"]["resourceVersion"]:
            raise Conflict(f"{kind.kind} {name_of(live)} is another one by now")
        managed = drift.taken_over(wanted, metadata.get("managedFields", []))
        if managed is not None:
            # Without its stamp it is applied also if this operator dies before it does so.
            annotations = {**metadata.get("annotations", {}), drift.APPLIED_ANNOTATION: ""}
            parts = {"/metadata/managedFields": managed, "/metadata/annotations": annotations}
            whole = await self._kube.change(kind, whole, parts)
        return str(whole["metadata"]["resourceVersion"])

    async def _free(self, kind: Kind, obj: Object) -> bool:
        """Whether a name is free: an object that is not labelled as ours is somebody's."""
        metadata = obj["metadata"]
        try:
            live = await self._kube.get(kind, metadata["namespace"], name_of(obj))
        except NotFound:
            return True
        if (controller_of(live) or {}).get("uid") == self._uid:
            # Ours without our labels, or its event is on its way: what is to be done is planned once it is seen.
            labels = {**metadata["labels"], names.BENCHMARK_LABEL: None}
            seen = {"uid": live["metadata"]["uid"], "labels": labels}
            await self._kube.merge(kind, metadata["namespace"], name_of(obj), {"metadata": seen})
            self._tools.again(self._key, 1.0)
            return False
        message = (
            f"{kind.kind} {name_of(obj)} exists and is not this cluster's: rename the cluster or remove it"
        )
        self._troubles.append(Trouble("NameTaken", message))
        return False

    async def _tell(self, status: dict[str, Any]) -> None:
        """Writes the status where it differs, and an event for each condition that changed."""
        facts: dict[str, list[PodFacts]] = {}
        for name, fact in self._observed.facts.items():
            if name in self._observed.pods:
                labels = self._observed.pods[name]["metadata"].get("labels") or {}
                facts.setdefault(labels.get(names.REGION_LABEL, ""), []).append(fact)
        self._tools.metrics.cluster(self._key, status, facts)
        if status == self._status:
            return
        news = list(conditions.changed(self._status, status))
        clock, written = self._environment.clock(), self._tools.status_written
        since = clock - written.get(self._key, -STATUS_INTERVAL)
        same_spec = status["observedGeneration"] == self._status.get("observedGeneration")
        if not news and same_spec and since < STATUS_INTERVAL:
            self._tools.again(self._key, STATUS_INTERVAL - since)
            return
        await _write_status(self._kube, self._resource, status)
        written[self._key] = clock
        for condition in news:
            await self._condition_event(condition)

    async def _condition_event(self, condition: Mapping[str, Any]) -> None:
        before = {c["type"]: c for c in self._status.get("conditions", [])}.get(condition["type"])
        good = {"Degraded": "False", "ScaleDownBlocked": "False", "Paused": "False", "Progressing": "False"}
        fine = condition["status"] == good.get(condition["type"], "True")
        if before is None and fine:
            return  # nothing happened: it is as it should be from the start
        warning = not fine and condition["type"] not in ("Progressing", "Paused", "ReplicationHealthy")
        # While a cluster comes up it is not ready; that is no news.
        if condition["type"] in ("Ready", "RootAvailable") and before is None:
            warning = False
        await self._event(condition["reason"], condition["message"], warning=warning)

    async def _event(self, reason: str, message: str, *, warning: bool) -> None:
        await self._tools.events.post(self._resource, reason, message, warning=warning)


async def _write_status(kube: Kube, resource: Object, status: Mapping[str, Any]) -> None:
    metadata = resource["metadata"]
    await kube.apply(
        CLUSTER,
        {
            "apiVersion": CLUSTER.api_version,
            "kind": CLUSTER.kind,
            "metadata": {field: metadata[field] for field in ("name", "namespace", "uid")},
            "status": dict(status),
        },
        "status",
    )
