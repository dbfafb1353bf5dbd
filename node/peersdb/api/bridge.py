"""The one crossing between asyncio (HTTP) and trio (the node).

The node lives in the main thread under trio; asyncio runs in a thread of its own and owns no data. A call
crosses over as a function and its arguments and comes back as a result or an error; nothing is shared. What needs
nothing of trio goes to the database's writer past it, which spares two crossings: `Bridge.direct`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio

from peersdb.api.pipe import BytePipe
from peersdb.errors import ShuttingDown
from peersdb.store.outcome import Outcome, Report

T = TypeVar("T")


class Bridge:
    """Calls from asyncio into a trio nursery."""

    def __init__(self, nursery: trio.Nursery) -> None:
        """Made on the trio side; calls run as tasks of ``nursery``."""
        self._nursery = nursery
        self._token = trio.lowlevel.current_trio_token()
        self._leaving: list[tuple[Callable[[Any], object], Outcome[Any]]] = []

    def pipe(self) -> BytePipe:
        """A pipe of bytes into the trio side, made on the asyncio side."""
        return BytePipe(self._token)

    def direct(
        self, function: Callable[..., bool], *args: Any, then: Callable[[Outcome[T]], object]
    ) -> asyncio.Future[Outcome[T]] | None:
        """Runs a function that any thread may call, and promises what it will report; from the asyncio side.

        What it began goes on where the promise is cancelled.

        Args:
            function: gets ``args`` and a `Report` to make; False: it will not report.
            args: its other arguments.
            then: called on the trio side with what was reported, in every case.

        Returns:
            The promise, or None where it will not report.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outcome[T]] = loop.create_future()

        def tell(outcome: Outcome[T]) -> None:
            _finish(future, outcome)
            # Woken now, the trio side would contend with the answer for the interpreter. The answer is a task that
            # this wakes: it has its turn before what is called soon here.
            if not self._leaving:
                loop.call_soon(self._leave)
            self._leaving.append((then, outcome))

        return future if function(*args, Report(loop.call_soon_threadsafe, tell)) else None

    def _leave(self) -> None:
        leaving, self._leaving = self._leaving, []

        def arrive() -> None:
            for then, outcome in leaving:
                then(outcome)

        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(arrive)

    async def call(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Runs an async function of the trio side, from the asyncio side.

        A caller who is cancelled cancels the function.

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

    At the end of the block ``stop`` is set and ``serve`` may take its time; where the block or that wait is
    cancelled, or the block fails, ``serve`` is cancelled. The thread has ended in every case.

    Args:
        serve: calls ``ready`` once it serves, returns after ``stop`` is set, and soon after it is cancelled.

    Raises:
        Exception: what ``serve`` raised, at the start or later.
    """
    token = trio.lowlevel.current_trio_token()
    started, ended = trio.Event(), trio.Event()
    failure: list[BaseException] = []
    # Made here, so that both can be told to end at any time, before the thread has come to anything as well.
    loop = asyncio.new_event_loop()
    stop, abort = asyncio.Event(), asyncio.Event()

    def ready() -> None:
        token.run_sync_soon(started.set)

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(_unless(abort, serve(ready, stop)))
        except BaseException as error:  # noqa: BLE001 - raised on the trio side
            failure.append(error)
        finally:
            # The trio side waits for `ended`, so it still runs.
            token.run_sync_soon(started.set)
            token.run_sync_soon(ended.set)

    def tell(event: asyncio.Event) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended
            loop.call_soon_threadsafe(event.set)

    async def watch() -> None:
        await ended.wait()
        if failure:
            raise failure[0]

    thread = threading.Thread(target=run, name="peersdb-http", daemon=True)
    thread.start()
    try:
        await started.wait()
        if failure:
            raise failure[0]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            yield
            nursery.cancel_scope.cancel()
        tell(stop)
        await ended.wait()
        if failure:
            raise failure[0]
    finally:
        tell(abort)
        with trio.CancelScope(shield=True):
            await ended.wait()
        thread.join()  # it has said its last word


async def _unless(abort: asyncio.Event, work: Awaitable[None]) -> None:
    """Runs ``work`` to its end, or cancels it when ``abort`` is set."""
    working, aborting = asyncio.ensure_future(work), asyncio.ensure_future(abort.wait())
    await asyncio.wait({working, aborting}, return_when=asyncio.FIRST_COMPLETED)
    aborting.cancel()
    working.cancel()  # does nothing where it is done
    with contextlib.suppress(asyncio.CancelledError):
        await working


def _finish(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
