"""Starts the interfaces that the settings ask for and stops them in order."""

from __future__ import annotations

import sys

import trio

from peersdb.api.bridge import Bridge, asyncio_thread
from peersdb.api.commands import Commands
from peersdb.api.shell import Shell, print_line
from peersdb.service.node import Node


async def serve(node: Node) -> None:
    """Serves until cancelled (a signal), or until the shell says exit."""
    try:
        # The calls that cross over outlive a cancellation for as long as HTTP finishes its requests.
        with trio.CancelScope(shield=True) as shield:
            async with trio.open_nursery() as calls:
                await _interfaces(node, Bridge(calls), shield)
                calls.cancel_scope.cancel()
    finally:
        node.write_benchmark()


async def _interfaces(node: Node, bridge: Bridge, shield: trio.CancelScope) -> None:
    if not node.settings.http:
        shield.shield = False
        await _wait(node)
        return
    from peersdb.api.http import HttpApi  # noqa: PLC0415 - aiohttp's 30 MB only where it serves

    async with asyncio_thread(HttpApi(node, bridge).serve):
        shield.shield = False
        try:
            await _wait(node)
        finally:
            shield.shield = True


async def _wait(node: Node) -> None:
    if node.settings.shell:
        history = node.settings.repo_dir / "shell_history"
        if await Shell(Commands(node), sys.stdin, print_line, history).run() or not node.settings.http:
            return
    await trio.sleep_forever()
