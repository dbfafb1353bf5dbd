"""What the watches have told: objects by cluster, kept as small as they can be.

An object is kept as JSON text without what nobody reads: as a dict it would take five times as much, and most objects
are looked at once in ten minutes.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator

from peersdb_operator import names
from peersdb_operator.kube.drift import FOREIGN_FIELDS, foreign_fields
from peersdb_operator.kube.kinds import NODE, POD, Kind, Object, name_of

Key = tuple[str, str]
"""Namespace and name of a cluster."""
Place = tuple[str, str]
"""Namespace ("" for what lies in none) and name of an object."""


class Cache:
    """The objects of some kinds.

    Attributes:
        on_change: called with the cluster's key when one of its objects changed.
        kinds: of the objects.
    """

    def __init__(
        self,
        kinds: tuple[Kind, ...],
        owner_of: Callable[[Object], Key] | None = None,
        reduce: Callable[[Kind, Object], Object] | None = None,
    ) -> None:
        """Begins empty; ``owner_of`` gives the key of what an object belongs to, ``reduce`` what is kept of it: a
        cluster's, if they are not given.
        """
        self.kinds = kinds
        self._owner_of, self._reduce = owner_of or cluster_of, reduce or reduced
        self._objects: dict[Kind, dict[Place, bytes]] = {kind: {} for kind in kinds}
        self._places: dict[Kind, dict[Key, set[Place]]] = {kind: defaultdict(set) for kind in kinds}
        self.on_change: Callable[[Key], None] = lambda _key: None

    def put(self, kind: Kind, obj: Object) -> None:
        """Take in an object, unless what is known is newer."""
        place, known = _place(obj), self._objects[kind]
        before = json.loads(known[place]) if place in known else None
        if before is not None and _version(before) > _version(obj):
            return
        after = self._reduce(kind, obj)
        if after == before:
            return
        owner = self._owner_of(after)
        if before is not None and self._owner_of(before) != owner:
            self._forget(kind, place)  # its label was changed: the cluster that lost it has to know
        known[place] = json.dumps(after, separators=(",", ":")).encode()
        self._places[kind][owner].add(place)
        if before is None or not _same_but_version(before, after):
            self.on_change(owner)

    def drop(self, kind: Kind, obj: Object) -> None:
        """Forget an object that was deleted, unless what is known is newer: it was made again."""
        known = self._objects[kind].get(_place(obj))
        if known is not None and _version(json.loads(known)) <= _version(obj):
            self._forget(kind, _place(obj))

    def retain(self, kind: Kind, namespace: str | None, places: set[Place], version: str) -> None:
        """Forget what a whole list no longer has: deleted while nobody watched.

        Args:
            kind: of the list.
            namespace: of the list; None means all.
            places: what it has.
            version: its resource version; what is newer is not known to it.
        """
        for place in self._objects[kind].keys() - places:
            known = json.loads(self._objects[kind][place])
            if namespace in (None, place[0]) and _version(known) <= _number(version):
                self._forget(kind, place)

    def of_cluster(self, kind: Kind, key: Key) -> list[Object]:
        """Give all objects of a kind that belong to a cluster by their label, in the order of names."""
        known = self._objects[kind]
        return [json.loads(known[place]) for place in sorted(self._places[kind].get(key, ()))]

    def every(self, kind: Kind) -> Iterator[Object]:
        """Give all objects of a kind."""
        for text in list(self._objects[kind].values()):
            yield json.loads(text)

    def _forget(self, kind: Kind, place: Place) -> None:
        key = self._owner_of(json.loads(self._objects[kind].pop(place)))
        places = self._places[kind]
        places[key].discard(place)
        if not places[key]:
            del places[key]
        self.on_change(key)


def reduced(kind: Kind, obj: Object) -> Object:
    """Give what is read of an object."""
    metadata = obj["metadata"]
    kept = {
        field: metadata[field]
        for field in (
            "name", "namespace", "uid", "resourceVersion", "generation", "labels", "annotations",
            "ownerReferences", "deletionTimestamp",
        )
        if field in metadata
    }  # fmt: skip
    if kind is POD:
        return {
            "metadata": kept,
            "spec": {"nodeName": obj.get("spec", {}).get("nodeName", "")},
            "status": _status_of_pod(obj),
        }
    if kind is NODE:
        return {
            "metadata": {"name": kept["name"], "labels": kept.get("labels", {})},
            "spec": {"unschedulable": obj.get("spec", {}).get("unschedulable", False)},
            "status": {"ready": _condition(obj, "Ready")},
        }
    foreign = foreign_fields(metadata.get("managedFields", ()))
    if foreign:
        kept[FOREIGN_FIELDS] = foreign
    # The items of a list do not say what they are.
    what = {"apiVersion": kind.api_version, "kind": kind.kind}
    return {**{field: value for field, value in obj.items() if field != "metadata"}, **what, "metadata": kept}


def cluster_of(obj: Object) -> Key:
    """Give the key of the cluster that an object says it belongs to."""
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), (metadata.get("labels") or {}).get(names.INSTANCE_LABEL, "")


def _place(obj: Object) -> Place:
    return obj["metadata"].get("namespace", ""), name_of(obj)


def _version(obj: Object) -> int:
    return _number(obj["metadata"].get("resourceVersion", ""))


def _number(version: str) -> int:
    # The API promises no order, etcd's revisions have one, and every API server there is shows them.
    return int(version) if version.isdecimal() else 0


def _same_but_version(one: Object, other: Object) -> bool:
    """Tell whether nothing changed that is kept, as with a pod's heartbeat."""
    first, second = ({**obj, "metadata": {**obj["metadata"], "resourceVersion": ""}} for obj in (one, other))
    return first == second


def _status_of_pod(obj: Object) -> Object:
    status = obj.get("status", {})
    containers = status.get("containerStatuses", [])
    return {
        "phase": status.get("phase", ""),
        "podIP": status.get("podIP", ""),
        "ready": _condition(obj, "Ready"),
        "unschedulable": next(
            (
                condition.get("message", "")
                for condition in status.get("conditions", [])
                if condition["type"] == "PodScheduled" and condition["status"] == "False"
            ),
            "",
        ),
        "waiting": next(
            (state["waiting"] for c in containers if (state := c.get("state", {})).get("waiting")), {}
        ),
        "terminated": next(
            (
                last["terminated"].get("reason", "")
                for c in containers
                if (last := c.get("lastState", {})).get("terminated")
            ),
            "",
        ),
        "restarts": sum(container.get("restartCount", 0) for container in containers),
    }


def _condition(obj: Object, kind: str) -> bool:
    return any(
        condition["type"] == kind and condition["status"] == "True"
        for condition in obj.get("status", {}).get("conditions", [])
    )
