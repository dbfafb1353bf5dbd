"""An operator that is moved by hand, step by step."""

import asyncio
import time

from peersdb_operator.kube.cache import Cache
from peersdb_operator.kube.events import Events
from peersdb_operator.kube.kinds import NODE, OWNED, POD
from peersdb_operator.kube.metrics import Metrics
from peersdb_operator.kube.operator import CLUSTER_OBJECTS
from peersdb_operator.kube.poller import Poller
from peersdb_operator.kube.reconcile import Reconciler
from peersdb_operator.kube.tools import Environment, Tools


class Hand:
    """An operator that is moved by hand: it lists everything and reconciles once, when told to.

    Attributes:
        writes: what it wrote, as (kind, verb).
        later: seconds after which it wants to look again.
        nodes_visible: whether it may read Kubernetes nodes.
    """

    def __init__(self, namespace, on_write, random=None):
        self.namespace, self.kube = namespace, None
        self.writes, self.later, self._on_write = [], [], on_write
        self.nodes_visible = True
        self._random = random or (lambda size: bytes([7]) * size)
        self._tools = None

    def wrote(self, kind, verb):
        self._on_write(kind, verb)
        self.writes.append((kind, verb))

    def tools(self):
        if self._tools is None:
            cache = Cache((*OWNED, POD, NODE))
            self._tools = Tools(
                kube=self.kube,
                cache=cache,
                poller=Poller(cache, lambda _key: None, lambda _seconds: None),
                events=Events(self.kube, "by-hand"),
                metrics=Metrics(lambda: 0),
                environment=Environment(time.time, time.monotonic, self._random, "peersdb-system"),
                nodes_visible=lambda: self.nodes_visible,
                again=lambda _key, seconds: self.later.append(seconds),
            )
        return self._tools

    def forget(self):
        """Know nothing, as a new process."""
        self._tools = None

    async def look(self):
        """Read all objects, as the informers do."""
        listed = [self._list(kind, self.namespace, CLUSTER_OBJECTS) for kind in (*OWNED, POD)]
        await asyncio.gather(*listed, self._list(NODE, None, ""))

    async def _list(self, kind, namespace, selector):
        cache, places, version = self.tools().cache, set(), ""
        async for items, version in self.kube.pages(kind, namespace, selector):  # noqa: B007 - the last one counts
            for obj in items:
                cache.put(kind, obj)
                places.add((obj["metadata"].get("namespace", ""), obj["metadata"]["name"]))
        cache.retain(kind, namespace, places, version)

    async def reconcile(self, name="demo"):
        """Look, and reconcile once; gives what was written."""
        await self.look()
        return await self._reconcile(name)

    async def reconcile_seeing(self, kinds, name="demo"):
        """Look at some kinds only, as where the others' watches are behind, and reconcile once."""
        for kind in kinds:
            await self._list(kind, self.namespace, CLUSTER_OBJECTS)
        return await self._reconcile(name)

    async def _reconcile(self, name):
        before = len(self.writes)
        # The interval between two statuses only spares the API server.
        self.tools().status_written.clear()
        await Reconciler(self.tools()).reconcile((self.namespace, name))
        return self.writes[before:]

    async def settle(self, name="demo"):
        """Reconcile until nothing is written, and nothing was in the way."""
        for _ in range(15):
            self.later.clear()
            wrote = await self.reconcile(name)
            if not wrote and 1.0 not in self.later:
                return
        raise AssertionError(f"it never comes to rest: {wrote}")

    async def settle_in_trouble(self, name="demo"):
        """Reconcile a few times: what is refused is tried each time."""
        for _ in range(4):
            await self.reconcile(name)
