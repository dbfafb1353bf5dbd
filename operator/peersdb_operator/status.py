"""The status of a cluster in the shape of the resource's, from what was observed: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from peersdb_operator.cluster import Cluster

Condition = tuple[str, str, str]
"""Status, reason and message."""

MAX_NAMED = 3
"""How many members a message names before it counts the rest."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What a status is made of, for one member that should run.

    Attributes:
        name: the member's.
        group: its group's name.
        is_root: whether it is a root.
        ready: whether its own readiness holds.
        moving: whether it is being started, stopped or restarted, or waits for its turn.
        reason: why it is not ready, for people.
        address: host:port of its HTTP API.
    """

    name: str
    group: str
    is_root: bool
    ready: bool
    moving: bool
    reason: str
    address: str


def status(
    cluster: Cluster,
    observations: Sequence[Observation],
    *,
    generation: int,
    store_address: str | None,
    previous: dict[str, Any],
    now: float,
    more: Mapping[str, Condition] = MappingProxyType({}),
) -> dict[str, Any]:
    """Make the status.

    Args:
        cluster: the manifest that it speaks of.
        observations: all members that should run.
        generation: the generation of that manifest.
        store_address: the contributions store's address, if known.
        previous: the status before, for the times of transitions; may be empty.
        now: seconds since the epoch.
        more: conditions that the backend adds: status, reason and message by type.
    """
    ready = [observation for observation in observations if observation.ready]
    conditions = {**_conditions(cluster, observations), **more}
    regions = [_region(group.name, observations) for group in cluster.regions]
    result: dict[str, Any] = {
        "observedGeneration": generation,
        "phase": _phase(conditions),
        "rootAddresses": [observation.address for observation in observations if observation.is_root],
        "replicas": len(observations),
        "readyReplicas": len(ready),
        "regionSummary": ", ".join(f"{r['name']} {r['readyReplicas']}/{r['replicas']}" for r in regions),
        "regions": regions,
        "conditions": [
            made(kind, found, generation=generation, previous=previous, now=now)
            for kind, found in conditions.items()
        ],
    }
    if store_address:
        result["storeAddress"] = store_address
    return result


def made(
    kind: str, found: Condition, *, generation: int, previous: dict[str, Any], now: float
) -> dict[str, Any]:
    """Make one condition of a status; it changed when its status did, see `status` for the arguments."""
    state, reason, message = found
    before = next((old for old in previous.get("conditions", []) if old["type"] == kind), None)
    return {
        "type": kind,
        "status": state,
        "observedGeneration": generation,
        "lastTransitionTime": _transition(before, state, now),
        "reason": reason,
        "message": message,
    }


def condition(status_: dict[str, Any], kind: str) -> dict[str, Any]:
    """Find a condition; an unknown one if there is none."""
    for found in status_.get("conditions", []):
        if found["type"] == kind:
            return dict(found)
    return {"type": kind, "status": "Unknown", "reason": "NotObserved", "message": "nothing was observed yet"}


def _region(name: str, observations: Sequence[Observation]) -> dict[str, Any]:
    own = [
        observation for observation in observations if observation.group == name and not observation.is_root
    ]
    return {
        "name": name,
        "replicas": len(own),
        "readyReplicas": sum(observation.ready for observation in own),
    }


def _conditions(cluster: Cluster, observations: Sequence[Observation]) -> dict[str, Condition]:
    unready = [observation for observation in observations if not observation.ready]
    moving = [observation for observation in observations if observation.moving]
    roots = [observation for observation in observations if observation.is_root]
    ready_roots = [root for root in roots if root.ready]
    total = len(observations)
    conditions: dict[str, Condition] = {}
    if not observations:
        conditions["Ready"] = ("False", "NothingRuns", "the manifest was paused before anything was started")
    elif unready:
        conditions["Ready"] = ("False", "MembersNotReady", _listing(unready))
    else:
        conditions["Ready"] = ("True", "AllReady", f"{total} of {total} members are ready")
    if moving:
        conditions["Progressing"] = ("True", "Changing", _listing(moving))
    elif unready:
        conditions["Progressing"] = ("False", "Stalled", _listing(unready))
    else:
        conditions["Progressing"] = ("False", "Settled", "nothing is left to do")
    if ready_roots:
        conditions["RootAvailable"] = (
            "True",
            "RootReady",
            f"{len(ready_roots)} of {len(roots)} roots are ready",
        )
    else:
        conditions["RootAvailable"] = ("False", "NoRootReady", _listing(roots) or "no root runs")
    if cluster.paused:
        conditions["Paused"] = (
            "True",
            "SpecPaused",
            "changes wait until spec.paused is false; what runs is kept running",
        )
    else:
        conditions["Paused"] = ("False", "NotPaused", "changes are carried out")
    return conditions


def _listing(observations: Sequence[Observation]) -> str:
    parts = [
        f"{observation.name}: {observation.reason or 'not ready'}" for observation in observations[:MAX_NAMED]
    ]
    if len(observations) > MAX_NAMED:
        parts.append(f"and {len(observations) - MAX_NAMED} more")
    return "; ".join(parts)


def _phase(conditions: dict[str, Condition]) -> str:
    if conditions["Paused"][0] == "True":
        return "Paused"
    if conditions.get("Degraded", ("False",))[0] == "True":
        return "Degraded"
    if conditions["Ready"][0] == "True":
        return "Progressing" if conditions["Progressing"][0] == "True" else "Ready"
    return "Progressing" if conditions["Progressing"][0] == "True" else "Degraded"


def _transition(before: dict[str, Any] | None, state: str, now: float) -> str:
    if before is not None and before["status"] == state:
        return str(before["lastTransitionTime"])
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
