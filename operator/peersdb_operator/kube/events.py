"""Kubernetes Events: what happened to a cluster or a benchmark, for ``kubectl describe``.

The same one again counts up.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime

from peersdb_operator.errors import Conflict, KubeError, NotFound
from peersdb_operator.kube.client import Kube
from peersdb_operator.kube.kinds import BENCHMARK, CLUSTER, EVENT, FIELD_MANAGER, Kind, Object

log = logging.getLogger("peersdb.events")

#: Events whose count is remembered; the API server forgets them after an hour itself.
REMEMBERED = 1024
#: The API's limit for a note, with room for its own.
MAX_MESSAGE = 1000


class Events:
    """Posts events; one that cannot be posted is logged, for nothing depends on it."""

    def __init__(
        self, kube: Kube, instance: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Posts as the operator process named ``instance``."""
        self._kube, self._instance, self._now = kube, instance, now
        self._counts: OrderedDict[str, int] = OrderedDict()

    async def post(self, resource: Object, reason: str, message: str, *, warning: bool) -> None:
        """Post an event about a cluster or a benchmark."""
        metadata = resource["metadata"]
        kind = BENCHMARK if resource.get("kind") == BENCHMARK.kind else CLUSTER
        text = message[:MAX_MESSAGE]
        digest = hashlib.sha256(f"{metadata['uid']}\0{reason}\0{text}".encode()).hexdigest()[:16]
        name = f"{metadata['name']}.{digest}"
        count = self._counts.get(name, 0) + 1
        self._counts[name] = count
        self._counts.move_to_end(name)
        if len(self._counts) > REMEMBERED:
            self._counts.popitem(last=False)
        at = self._now().strftime("%Y-%m-%dT%H:%M:%SZ")
        try:
            if count > 1:
                try:
                    patch = {"count": count, "lastTimestamp": at}
                    await self._kube.merge(EVENT, metadata["namespace"], name, patch)
                except NotFound:
                    pass  # it was forgotten: made anew below
                else:
                    return
            await self._kube.create(
                EVENT, self._event(kind, metadata, name, reason, text, at, warning=warning)
            )
        except Conflict:
            return  # made by this operator's last life
        except KubeError as error:
            log.warning("event %s of %s/%s: %s", reason, metadata["namespace"], metadata["name"], error)

    def _event(  # noqa: PLR0917 - its fields
        self, kind: Kind, metadata: Object, name: str, reason: str, text: str, at: str, *, warning: bool
    ) -> Object:
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"name": name, "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": kind.api_version,
                "kind": kind.kind,
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
                "resourceVersion": metadata.get("resourceVersion", ""),
            },
            "reason": reason,
            "message": text,
            "type": "Warning" if warning else "Normal",
            "source": {"component": FIELD_MANAGER},
            "reportingComponent": FIELD_MANAGER,
            "reportingInstance": self._instance,
            "count": 1,
            "firstTimestamp": at,
            "lastTimestamp": at,
        }
