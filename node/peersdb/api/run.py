"""Starts the interfaces that the settings ask for, and ends them in order.

Order of an end: no new request is taken; what runs has `GRACE` seconds to finish; what still runs then is
cancelled and its client told so. The node's other parts work until the last request is answered, because
requests need them: the node is told to stop by an event and is not cancelled.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from peersdb.api.bridge import Bridge, asyncio_thread
from peersdb.api.commands import Commands
from peersdb.api.shell import Shell, print_line
from peersdb.service.node import Node

#: Running requests get so long (seconds) to finish. The whole end takes 5 s at most: closing the HTTP
#: connections and the node's own takes the rest.
GRACE = 2.5


async def serve(node: Node, stop: trio.Event) -> None:
    """Serves until ``stop`` is set or the shell says exit, then ends in order; cancelled, it ends at once."""
    try:
        async with trio.open_nursery() as calls:
            async with _http(node, calls):
                # What is there now stays to the end. Collections that look at none of it take a tenth of the time:
                # one of all modules would hold both threads for 60 ms, in the middle of somebody's request.
                gc.freeze()
                await _until_stopped(node, stop)
                calls.cancel_scope.deadline = trio.current_time() + GRACE
            calls.cancel_scope.cancel()  # what still runs has no client any more
    finally:
        node.write_benchmark()


@asynccontextmanager
async def _http(node: Node, calls: trio.Nursery) -> AsyncIterator[None]:
    """HTTP, where it is asked for; its requests run as tasks of ``calls``."""
    if not node.settings.http:
        yield
        return
    from peersdb.api.http import HttpApi  # noqa: PLC0415 - aiohttp's 30 MB only where it serves

    async with asyncio_thread(HttpApi(node, Bridge(calls)).serve):
        yield


async def _until_stopped(node: Node, stop: trio.Event) -> None:
    if not node.settings.shell:
        await stop.wait()
        return
    history = node.settings.repo_dir / "shell_history"
    shell = Shell(Commands(node), sys.stdin, print_line, history)
    async with trio.open_nursery() as nursery:

        async def run_shell() -> None:
            # The end of the input ends the shell alone where the node has another interface.
            if await shell.run() or not node.settings.http:
                stop.set()

        nursery.start_soon(run_shell)
        await stop.wait()
        nursery.cancel_scope.cancel()
