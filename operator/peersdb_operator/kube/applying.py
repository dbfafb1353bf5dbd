"""A plan carried out: objects applied where they differ, those without a meaning deleted, pods replaced."""

from __future__ import annotations

import asyncio

from peersdb_operator import builders, names
from peersdb_operator.errors import Conflict, NotFound
from peersdb_operator.kube import desired, drift
from peersdb_operator.kube.cache import reduced
from peersdb_operator.kube.conditions import Trouble
from peersdb_operator.kube.kinds import BY_NAME, POD, STATEFUL_SET, Kind, Object, controller_of, name_of
from peersdb_operator.kube.subject import Subject

#: Requests of one reconcile on the way at once.
AT_ONCE = 8
#: An owner that is gone takes its objects with it within seconds; a cluster of the same name waits for that.
OLD_OWNER_RETRY = 2.0


class Applying:
    """Carries out the plan of one cluster."""

    def __init__(self, subject: Subject) -> None:
        """Works on ``subject``."""
        self._subject, self._tools, self._kube = subject, subject.tools, subject.tools.kube
        self._applied = subject.tools.applied.setdefault(subject.key, {})
        self._slots = asyncio.Semaphore(AT_ONCE)

    def look_at(self, plan: desired.Plan) -> None:
        """Say which names of it are somebody else's."""
        for obj in plan.taken:
            controller = controller_of(obj) or {}
            if self._subject.is_old_self(controller):
                self._subject.again(OLD_OWNER_RETRY)
            else:
                owner = f"{controller.get('kind')} {controller.get('name')}"
                message = f"{obj['kind']} {name_of(obj)} belongs to {owner}: rename the cluster or a region"
                self._subject.troubles.append(Trouble("NameTaken", message))

    async def carry_out(self, plan: desired.Plan, facts: builders.Facts) -> None:
        """Apply, patch, delete and replace what it says."""
        first = [obj for obj in plan.apply if obj["kind"] != STATEFUL_SET.kind]
        last = [obj for obj in plan.apply if obj["kind"] == STATEFUL_SET.kind]
        for phase in (first, last):
            # Each ends before the reconcile does, also when another fails: nothing is written behind its back.
            ended = await asyncio.gather(*map(self._apply, phase), return_exceptions=True)
            for error in filter(None, ended):
                raise error
        namespace = self._subject.namespace
        for kind, name, patch in plan.patch:
            with self._subject.told(f"{kind.kind} {name}"):
                await self._kube.merge(kind, namespace, name, patch)
        for kind, obj in plan.delete:
            with self._subject.told(f"{kind.kind} {name_of(obj)}"):
                await self._kube.delete(kind, namespace, name_of(obj), obj["metadata"]["uid"])
                await self._subject.event("Removed", f"removed {kind.kind} {name_of(obj)}", warning=False)
        for pod, reason in desired.pods_to_replace(self._subject.cluster, self._subject.observed, facts):
            with self._subject.told(f"Pod {name_of(pod)}"):
                await self._kube.delete(POD, namespace, name_of(pod), pod["metadata"]["uid"])
                await self._subject.event(reason, f"replaced pod {name_of(pod)}", warning=False)

    async def _apply(self, obj: Object) -> None:
        """Makes one object what it should be."""
        kind = BY_NAME[obj["kind"]]
        key = (kind.kind, name_of(obj))
        live = self._subject.observed.objects.get(key)
        async with self._slots:
            with self._subject.told(f"{kind.kind} {name_of(obj)}"):
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
        if (controller_of(live) or {}).get("uid") == self._subject.uid:
            # Ours without our labels, or its event is on its way: what is to be done is planned once it is seen.
            labels = {**metadata["labels"], names.BENCHMARK_LABEL: None}
            seen = {"uid": live["metadata"]["uid"], "labels": labels}
            await self._kube.merge(kind, metadata["namespace"], name_of(obj), {"metadata": seen})
            self._subject.again(1.0)
            return False
        message = (
            f"{kind.kind} {name_of(obj)} exists and is not this cluster's: rename the cluster or remove it"
        )
        self._subject.troubles.append(Trouble("NameTaken", message))
        return False
