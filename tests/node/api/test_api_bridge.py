"""The crossing between asyncio and trio: results, errors, and every order of ends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable

import pytest
import trio
import trio.lowlevel

from peersdb.api.bridge import Bridge, asyncio_thread
from peersdb.api.pipe import PIECES
from peersdb.errors import BadRequest, ShuttingDown, StorageError
from peersdb.store.outcome import Outcome, Report

#: None of these takes longer than milliseconds; a hang fails here.
LIMIT = 10


def peersdb_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "peersdb-http"]


async def double(number: int) -> int:
    await trio.lowlevel.checkpoint()
    return 2 * number


async def refuse() -> None:
    raise BadRequest("no")


async def across(use: Callable[[Bridge], object]) -> None:
    """Runs ``use(bridge)`` on the asyncio side to its end."""
    done = trio.Event()
    token = trio.lowlevel.current_trio_token()
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as calls:
            bridge = Bridge(calls)

            async def serve(ready: Callable[[], None], stop: asyncio.Event) -> None:
                ready()
                await use(bridge)  # type: ignore[misc]
                token.run_sync_soon(done.set)
                await stop.wait()

            async with asyncio_thread(serve):
                await done.wait()
    assert not peersdb_threads()


async def test_calls_cross_with_their_results_in_parallel() -> None:
    results: list[int] = []

    async def use(bridge: Bridge) -> None:
        results.extend(await asyncio.gather(*(bridge.call(double, number) for number in range(500))))

    await across(use)
    assert results == [2 * number for number in range(500)]


async def test_an_error_crosses_as_it_is() -> None:
    async def use(bridge: Bridge) -> None:
        with pytest.raises(BadRequest, match="no"):
            await bridge.call(refuse)

    await across(use)


async def test_a_cancelled_caller_cancels_its_call_and_no_other() -> None:
    entered, ended = threading.Event(), threading.Event()

    async def wait() -> None:
        entered.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async def use(bridge: Bridge) -> None:
        waiting = asyncio.ensure_future(bridge.call(wait))
        await asyncio.to_thread(entered.wait, LIMIT)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await asyncio.to_thread(ended.wait, LIMIT)
        assert await bridge.call(double, 4) == 8

    await across(use)


async def test_a_caller_cancelled_before_its_call_began_cancels_it_too() -> None:
    async def use(bridge: Bridge) -> None:
        waiting = asyncio.ensure_future(bridge.call(trio.sleep_forever))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    await across(use)  # would hang in the nursery otherwise


async def test_calls_that_run_when_their_nursery_ends_are_told_so() -> None:
    """What the deadline of an orderly end does to a stuck request, and to one that comes after it."""
    outcomes: list[object] = []
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as calls:
            bridge = Bridge(calls)
            entered = trio.Event()

            async def stuck() -> None:
                entered.set()
                await trio.sleep_forever()

            async def serve(ready: Callable[[], None], stop: asyncio.Event) -> None:
                early = asyncio.ensure_future(bridge.call(stuck))
                ready()
                try:
                    await stop.wait()
                finally:
                    late = bridge.call(trio.sleep_forever)
                    outcomes.extend(await asyncio.gather(early, late, return_exceptions=True))

            async with asyncio_thread(serve):
                await entered.wait()
                calls.cancel_scope.cancel()
    assert [type(outcome) for outcome in outcomes] == [ShuttingDown, ShuttingDown]
    assert not peersdb_threads()


def work(outcome: Outcome[str], release: threading.Event, report: Report) -> bool:
    """Something that a thread of its own does and reports."""

    def run() -> None:
        assert release.wait(LIMIT)
        report.crossing(report.tell, outcome)

    threading.Thread(target=run).start()
    return True


def outcome_of(result: str, error: Exception | None = None) -> Outcome[str]:
    made: Outcome[str] = Outcome()
    made.result, made.error = result, error
    return made


async def test_what_needs_nothing_of_trio_is_answered_first_and_told_to_trio_then() -> None:
    order: list[str] = []
    arrived = trio.Event()
    done = threading.Event()
    done.set()

    def then(outcome: Outcome[str]) -> None:
        trio.lowlevel.current_trio_token()  # raises in any other thread
        order.append(f"trio has {outcome.result}")
        arrived.set()

    async def use(bridge: Bridge) -> None:
        async def ask(name: str) -> None:
            promise = bridge.direct(work, outcome_of(name), done, then=then)
            assert promise is not None
            order.append(f"answered {(await promise).get()}")

        await ask("one")
        await bridge.call(arrived.wait)
        refused = bridge.direct(work, outcome_of("", BadRequest("no")), done, then=lambda _: None)
        assert refused is not None
        with pytest.raises(BadRequest, match="no"):
            (await refused).get()

    await across(use)
    assert order == ["answered one", "trio has one"]


async def test_trio_hears_of_it_also_where_nobody_waits_any_more() -> None:
    arrived = trio.Event()
    release = threading.Event()

    async def use(bridge: Bridge) -> None:
        promise = bridge.direct(work, outcome_of("x"), release, then=lambda _: arrived.set())
        assert promise is not None
        promise.cancel()
        release.set()
        await bridge.call(arrived.wait)

    await across(use)


async def test_what_is_declined_promises_nothing() -> None:
    async def use(bridge: Bridge) -> None:
        assert bridge.direct(lambda _report: False, then=pytest.fail) is None

    await across(use)


@pytest.mark.parametrize("read", [0, 1])
async def test_feeding_ends_once_the_reader_gave_up(read: int) -> None:
    async def refuse_after(chunks: AsyncGenerator[bytes, None]) -> None:
        for _ in range(read):
            await anext(chunks)
        await refuse()

    async def use(bridge: Bridge) -> None:
        pipe = bridge.pipe()
        reading = asyncio.ensure_future(bridge.call(refuse_after, pipe.chunks()))
        reading.add_done_callback(lambda _: pipe.abandon())
        # All of them before the refusal can be known: most wait for room that no reader will make.
        await asyncio.gather(*(pipe.feed(b"piece") for _ in range(4 * PIECES)))
        pipe.end()
        with pytest.raises(BadRequest):
            await reading

    await across(use)


def test_a_call_after_the_node_has_stopped_is_told_so() -> None:
    async def make() -> Bridge:
        async with trio.open_nursery() as calls:
            return Bridge(calls)

    bridge = trio.run(make)
    with pytest.raises(ShuttingDown):
        asyncio.run(bridge.call(double, 1))


async def test_a_server_that_cannot_start_fails_the_block_before_it_runs() -> None:
    async def serve(_ready: Callable[[], None], _stop: asyncio.Event) -> None:
        raise StorageError("port taken")

    async def serving() -> None:
        async with asyncio_thread(serve):
            pytest.fail("the block ran")

    with trio.fail_after(LIMIT), pytest.raises(StorageError, match="port taken"):
        await serving()
    assert not peersdb_threads()


async def test_a_server_that_fails_later_ends_the_block() -> None:
    fail = trio.Event()
    token = trio.lowlevel.current_trio_token()

    async def serve(ready: Callable[[], None], _stop: asyncio.Event) -> None:
        ready()
        await asyncio.to_thread(trio.from_thread.run, fail.wait, trio_token=token)
        raise StorageError("gone")

    async def serving() -> None:
        async with asyncio_thread(serve):
            fail.set()
            await trio.sleep_forever()

    with trio.fail_after(LIMIT), pytest.raises(ExceptionGroup) as caught:
        await serving()
    assert caught.group_contains(StorageError, match="gone")
    assert not peersdb_threads()


async def test_the_block_ends_after_the_server_has_finished() -> None:
    finished = False

    async def serve(ready: Callable[[], None], stop: asyncio.Event) -> None:
        nonlocal finished
        ready()
        await stop.wait()
        await asyncio.sleep(0.05)
        finished = True

    with trio.fail_after(LIMIT):
        async with asyncio_thread(serve):
            pass
    assert finished


@pytest.mark.parametrize("moment", ["before it starts", "while it starts", "while it runs", "while it ends"])
async def test_a_cancellation_at_any_moment_ends_server_and_thread(moment: str) -> None:
    cancelled = threading.Event()

    async def serve(ready: Callable[[], None], _stop: asyncio.Event) -> None:
        if moment == "while it starts":
            token.run_sync_soon(scope.cancel)
        else:
            ready()
        try:
            await asyncio.Event().wait()  # deaf to `stop`
        finally:
            cancelled.set()

    token = trio.lowlevel.current_trio_token()
    began = time.monotonic()
    with trio.CancelScope() as scope:
        if moment == "before it starts":
            scope.cancel()
        async with asyncio_thread(serve):
            if moment == "while it ends":
                scope.deadline = trio.current_time() + 0.05
            else:
                scope.cancel()
                await trio.sleep_forever()
    assert scope.cancelled_caught
    assert time.monotonic() - began < LIMIT
    assert cancelled.is_set() or moment == "before it starts"
    assert not peersdb_threads()
