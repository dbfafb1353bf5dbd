"""One iroh node that answers commands, one line of JSON each way: ``python iroh_node.py DIRECTORY``.

Runs on the Python of a venv of its own, which has iroh. Its store is on the disk; iroh does not sync each entry to it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

VALUE = 1024


class Served:
    """What one node can be asked."""

    def __init__(self, iroh: Any, node: Any) -> None:
        """Answers for a running node."""
        self._iroh, self._node = iroh, node
        self._document: Any = None
        self._author: Any = None
        self._added = 0
        self._events = _Events(iroh.LiveEventType.INSERT_REMOTE)

    async def create(self) -> str:
        """Makes the document and gives the ticket to join it."""
        self._document = await self._node.docs().create()
        self._author = await self._node.authors().create()
        addresses = self._iroh.AddrInfoOptions.ADDRESSES
        return str(await self._document.share(self._iroh.ShareMode.WRITE, addresses))

    async def add(self, count: int) -> float:
        """Adds entries one after the other; seconds."""
        begin = time.monotonic()
        for _ in range(count):
            await self.add_one()
        return time.monotonic() - begin

    async def add_one(self) -> float:
        """Adds an entry; when it was acknowledged (the clock that all processes share)."""
        self._added += 1
        await self._document.set_bytes(self._author, f"entry {self._added}".encode(), os.urandom(VALUE))
        return time.monotonic()

    async def count(self) -> int:
        """How many were added here."""
        return self._added

    async def join(self, ticket: str, count: int) -> float:
        """Joins a document; seconds until so many entries are here, without what they name, as ours."""
        begin = time.monotonic()
        self._document = await self._node.docs().join(self._iroh.DocTicket(ticket))
        await self._document.set_download_policy(self._iroh.DownloadPolicy.nothing())
        by_key, ascending = self._iroh.SortBy.KEY_AUTHOR, self._iroh.SortDirection.ASC
        # Whether there is a last one: events, one for each entry, would cost more in Python than the join itself.
        last = self._iroh.Query.all(
            self._iroh.QueryOptions(sort_by=by_key, direction=ascending, offset=count - 1, limit=1)
        )
        while await self._document.get_one(last) is None:  # noqa: ASYNC110 - as we ask our nodes
            await asyncio.sleep(0.01)
        return time.monotonic() - begin

    async def listen(self) -> None:
        """Lets the next entries be `seen`."""
        await self._document.subscribe(self._events)

    async def seen(self) -> float:
        """When the next entry arrived."""
        return await self._events.times.get()

    async def share(self, file: str) -> tuple[float, str]:
        """Takes a file in; seconds, and its ticket."""
        begin = time.monotonic()
        kept = self._iroh.SetTagOption.auto()
        done = _Done(self._iroh.AddProgressType.ALL_DONE)
        await self._node.blobs().add_from_path(file, False, kept, self._iroh.WrapOption.no_wrap(), done)
        seconds = time.monotonic() - begin
        addresses = self._iroh.AddrInfoOptions.ADDRESSES
        ticket = await self._node.blobs().share(
            done.event.as_all_done().hash, self._iroh.BlobFormat.RAW, addresses
        )
        return seconds, str(ticket)

    async def fetch(self, ticket: str, target: str) -> float:
        """Fetches a file from its peer and writes it out, synced; seconds."""
        begin = time.monotonic()
        blob = self._iroh.BlobTicket(ticket)
        done = _Done(self._iroh.DownloadProgressType.ALL_DONE)
        await self._node.blobs().download(blob.hash(), blob.as_download_options(), done)
        whole, copy = self._iroh.BlobExportFormat.BLOB, self._iroh.BlobExportMode.COPY
        await self._node.blobs().export(blob.hash(), target, whole, copy)
        handle = os.open(target, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
        return time.monotonic() - begin


class _Events:
    """When entries arrived; iroh calls `event`."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self.times: asyncio.Queue[float] = asyncio.Queue()

    async def event(self, event: Any) -> None:
        if event.type() == self._kind:
            self.times.put_nowait(time.monotonic())


class _Done:
    """Keeps the last event of a transfer; iroh calls `progress`."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self.event: Any = None

    async def progress(self, progress: Any) -> None:
        if progress.type() == self._kind:
            self.event = progress


async def serve(directory: str) -> None:
    """A node that answers commands until its input ends."""
    import iroh  # noqa: PLC0415 - not in the project's own environment

    iroh.iroh_ffi.uniffi_set_event_loop(asyncio.get_running_loop())
    options = iroh.NodeOptions(
        enable_docs=True, ipv4_addr="127.0.0.1:0", node_discovery=iroh.NodeDiscoveryConfig.NONE
    )
    served = Served(iroh, await iroh.Iroh.persistent_with_options(directory, options))
    print(json.dumps("ready"), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        command, *args = json.loads(line)
        run: Callable[..., Awaitable[Any]] = getattr(served, command)
        print(json.dumps(await run(*args)), flush=True)
    os._exit(0)  # its own threads would go on


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
