"""Lists and watches one kind for ever, and keeps a cache in step.

After every gap the kind is listed anew and what the list lacks is forgotten: a delete that happened meanwhile is told
by no event.
"""

from __future__ import annotations

import asyncio
import logging
import random

from peersdb_operator.errors import Gone, KubeError, Refused
from peersdb_operator.kube.cache import Cache
from peersdb_operator.kube.client import Kube
from peersdb_operator.kube.kinds import Kind

log = logging.getLogger("peersdb.informer")

#: Seconds until a list is tried again, doubled each time, with jitter: many operators may wait for one API server.
RETRY_FIRST, RETRY_LAST = 0.5, 30.0


class Informer:
    """Keeps one kind in the cache.

    Attributes:
        synced: set once the whole list was taken in.
        refused: why the API server does not let us read this kind; empty where it does.
    """

    def __init__(
        self, kube: Kube, cache: Cache, kind: Kind, *, namespace: str | None = None, selector: str = ""
    ) -> None:
        """Reads ``kind`` in one namespace or in all, of the objects with the labels of ``selector``."""
        self._kube, self._cache, self._kind = kube, cache, kind
        self._namespace, self._selector = namespace, selector
        self.synced, self.refused = asyncio.Event(), ""

    async def run(self) -> None:
        """Lists and watches until it is cancelled."""
        delay = RETRY_FIRST
        version = ""
        while True:
            try:
                if not version:
                    version = await self._list()
                    self.synced.set()
                    self.refused = ""
                version = await self._watch(version)
                delay = RETRY_FIRST
            except Gone:
                version = ""
            except KubeError as error:
                if isinstance(error, Refused):
                    self.refused = str(error)
                    self.synced.set()  # nobody should wait for what will not come
                log.warning("%s: %s; again in %.1f s", self._kind.plural, error, delay)
                await asyncio.sleep(max(error.retry_after, delay * random.uniform(0.7, 1.3)))  # noqa: S311 - jitter
                delay = min(2 * delay, RETRY_LAST)

    async def _list(self) -> str:
        places, version = set(), ""
        async for items, version in self._kube.pages(self._kind, self._namespace, self._selector):  # noqa: B007 - the last one counts
            for obj in items:
                places.add((obj["metadata"].get("namespace", ""), obj["metadata"]["name"]))
                self._cache.put(self._kind, obj)
        self._cache.retain(self._kind, self._namespace, places, version)
        return version

    async def _watch(self, version: str) -> str:
        async for event, obj in self._kube.watch(self._kind, self._namespace, self._selector, version):
            version = obj["metadata"]["resourceVersion"]
            if event == "DELETED":
                self._cache.drop(self._kind, obj)
            elif event != "BOOKMARK":
                self._cache.put(self._kind, obj)
        return version
