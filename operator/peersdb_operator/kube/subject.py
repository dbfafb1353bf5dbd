"""One cluster in one reconcile: what it is, what is there of it, and what is wrong with it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from peersdb_operator.cluster import Cluster
from peersdb_operator.errors import Conflict, NotFound, Refused, Unavailable
from peersdb_operator.kube.cache import Key
from peersdb_operator.kube.conditions import Trouble
from peersdb_operator.kube.kinds import CLUSTER, Object
from peersdb_operator.kube.observed import Observed
from peersdb_operator.kube.tools import Tools

log = logging.getLogger("peersdb.reconcile")

#: What a webhook that fails is answered by, and what else concerns one object alone.
INTERNAL_ERROR = 500


class Subject:
    """The cluster that a reconcile works on.

    Attributes:
        tools: to work with.
        key: of the cluster.
        resource: as it was read.
        cluster: what it means.
        observed: what is there of it.
        uid: of the resource.
        status: as it was read.
        troubles: what is wrong.
        failure: what the API server failed at, to be tried again.
    """

    def __init__(
        self, tools: Tools, key: Key, resource: Object, cluster: Cluster, observed: Observed
    ) -> None:
        """Nothing is wrong yet."""
        self.tools, self.key, self.resource = tools, key, resource
        self.cluster, self.observed = cluster, observed
        self.uid = str(resource["metadata"]["uid"])
        self.status: dict[str, Any] = resource.get("status") or {}
        self.troubles: list[Trouble] = []
        self.failure: Unavailable | None = None

    @property
    def namespace(self) -> str:
        """Where it and its objects are."""
        return self.key[0]

    def again(self, seconds: float) -> None:
        """Have it looked at again."""
        self.tools.again(self.key, seconds)

    def is_old_self(self, controller: Object) -> bool:
        """Tell whether an owner is a deleted cluster of the same name, whose objects are on their way out."""
        same = controller.get("kind") == CLUSTER.kind and controller.get("name") == self.cluster.name
        return same and controller["uid"] != self.uid

    @contextlib.contextmanager
    def told(self, what: str) -> Iterator[None]:
        """Make a condition of what the API server refuses or fails at, so that the rest goes on."""
        try:
            yield
        except (Conflict, NotFound) as error:
            log.info("%s: %s", what, error)  # it changed meanwhile: its event brings us back
            self.again(1.0)
        except Refused as error:
            self.troubles.append(Trouble("ApplyRefused", f"{what}: {error}"))
        except Unavailable as error:
            if error.status != INTERNAL_ERROR:
                raise
            self.troubles.append(Trouble("ApplyFailed", f"{what}: {error}"))
            self.failure = error

    async def event(self, reason: str, message: str, *, warning: bool) -> None:
        """Tell people what happened to it."""
        await self.tools.events.post(self.resource, reason, message, warning=warning)
