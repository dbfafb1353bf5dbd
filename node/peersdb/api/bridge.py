"""The one crossing between asyncio (HTTP) and trio (the node).

The node lives in the main thread under trio; asyncio runs in a thread of its own and owns no data. A call
crosses over as a function and its arguments and comes back as a result or an error; nothing is shared.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio

from peersdb.errors import ShuttingDown

T = TypeVar("T")


class Bridge:
    """Calls from asyncio into a trio nursery."""

    def __init__(self, nursery: trio.Nursery) -> None:
        """Made on the trio side; calls run as tasks of ``nursery``."""
        self._nursery = nursery
        self._token = trio.lowlevel.current_trio_token()

    async def call(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Runs an async function of the trio side, from the asyncio side.

        A caller who is cancelled (a client that went away) cancels the function.

        Raises:
            ShuttingDown: the trio side has ended, or ended meanwhile.
            Exception: what the function raised.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        scope = trio.CancelScope()

        async def run() -> None:
            outcome: tuple[Any, ...] = (_fail, future, ShuttingDown("the node is stopping"))
            try:
                with scope:
                    outcome = (_finish, future, await function(*args))
            except Exception as error:  # noqa: BLE001 - it belongs to the caller
                outcome = (_fail, future, error)
            finally:
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    loop.call_soon_threadsafe(*outcome)

        def start() -> None:
            try:
                self._nursery.start_soon(run)
            except RuntimeError:  # the nursery is closed
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(_fail, future, ShuttingDown("the node is stopping"))

        try:
            self._token.run_sync_soon(start)
        except trio.RunFinishedError:
            raise ShuttingDown("the node has stopped") from None
        try:
            return await future
        except asyncio.CancelledError:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(scope.cancel)
            raise


@asynccontextmanager
async def asyncio_thread(
    serve: Callable[[Callable[[], None], asyncio.Event], Awaitable[None]],
) -> AsyncIterator[None]:
    """Runs ``serve(ready, stop)`` on asyncio in a thread for as long as the block runs.

    Args:
        serve: calls ``ready`` once it serves and returns soon after ``stop`` is set.

    Raises:
        Exception: what ``serve`` raised, at the start or later.
    """
    token = trio.lowlevel.current_trio_token()
    started, ended = trio.Event(), trio.Event()
    failure: list[BaseException] = []
    control: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def tell(event: trio.Event) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(event.set)

    async def main() -> None:
        stop = asyncio.Event()
        control.append((asyncio.get_running_loop(), stop))
        await serve(lambda: tell(started), stop)

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001 - raised on the trio side
            failure.append(error)
        finally:
            tell(ended)
            tell(started)

    threading.Thread(target=run, name="peersdb-http", daemon=True).start()
    await started.wait()
    if failure:
        raise failure[0]
    try:
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                await ended.wait()
                if failure:
                    raise failure[0]

            nursery.start_soon(watch)
            yield
            nursery.cancel_scope.cancel()
    finally:
        for loop, stop in control:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(stop.set)
        with trio.CancelScope(shield=True):
            await ended.wait()


def _finish(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
