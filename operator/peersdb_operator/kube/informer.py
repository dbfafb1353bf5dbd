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
#: A watch lasts for minutes; one that ends within so many seconds is not opened again at once.
SHORT = 1.0
#: Too many requests: what is known is still good.
_BUSY = 429


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
        self._version = ""  # to watch from; empty: list first

    async def run(self) -> None:
        """Lists and watches until it is cancelled."""
        delay, clock = RETRY_FIRST, asyncio.get_running_loop().time
        while True:
            began, wait = clock(), 0.0
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except Gone:
                self._version = ""
            except KubeError as error:
                log.warning("%s: %s", self._kind.plural, error)
                if error.status not in (0, _BUSY):
                    self._version = ""
                if isinstance(error, Refused):
                    self.refused = str(error)
                    self.synced.set()  # nobody should wait for what will not come
                wait = max(error.retry_after, RETRY_FIRST)
            if clock() - began > SHORT:
                delay = RETRY_FIRST
            else:
                wait = max(wait, delay * random.uniform(0.7, 1.3))  # noqa: S311 - jitter
                delay = min(2 * delay, RETRY_LAST)
            await asyncio.sleep(wait)

    async def _list(self) -> None:
        places, version = set(), ""
        async for items, version in self._kube.pages(self._kind, self._namespace, self._selector):  # noqa: B007 - the last one counts
            for obj in items:
                places.add((obj["metadata"].get("namespace", ""), obj["metadata"]["name"]))
                self._cache.put(self._kind, obj)
        self._cache.retain(self._kind, self._namespace, places, version)
        self._version, self.refused = version, ""
        self.synced.set()

    async def _watch(self) -> None:
        """Takes in changes, and remembers how far it came, until the watch ends."""
        async for event, obj in self._kube.watch(self._kind, self._namespace, self._selector, self._version):
            if event == "DELETED":
                self._cache.drop(self._kind, obj)
            elif event != "BOOKMARK":
                self._cache.put(self._kind, obj)
            self._version = obj["metadata"]["resourceVersion"]
