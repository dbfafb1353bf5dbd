"""Listens to the masters of all runs and tells them what was done; never on the way of a reconcile.

What is heard is kept here, and the run's key is put back into the queue when it is news.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp

from peersdb_operator.errors import ControlError
from peersdb_operator.kube.benchmark import pods, results
from peersdb_operator.kube.benchmark.control import Control
from peersdb_operator.kube.benchmark.results import Outcome
from peersdb_operator.kube.cache import Key
from peersdb_operator.load import Progress

log = logging.getLogger("peersdb.benchmark")

#: Seconds between two questions to a master, and between two looks at everything else of a run.
INTERVAL, TICK = 2.0, 1.0
#: Events of a run that wait to be told: an event a second for the longest time that a master may be deaf.
MAX_EVENTS = 64
#: Events told already that are remembered, so that none is told twice.
MAX_TOLD = 256
#: Seconds for the question to one member, and the bytes of its answer: see the poller.
MEMBER_TIMEOUT, MAX_STATUS = 1.0, 1024 * 1024
#: Members asked at once.
AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class Master:
    """Where a run's master is.

    Attributes:
        address: of its pod; empty while it has none.
        token: of its control API.
        claim: whether its results are on a claim.
    """

    address: str
    token: str
    claim: bool


@dataclass(frozen=True, slots=True)
class Side:
    """The members of a region, asked whom they are connected to.

    Attributes:
        region: theirs.
        addresses: of their pods.
        port: of their HTTP API.
        tokens: to present, the newest first.
    """

    region: str
    addresses: tuple[str, ...]
    port: int
    tokens: tuple[str, ...]


@dataclass(slots=True)
class _Run:
    master: Master
    progress: Progress | None = None
    heard: float | None = None
    asked: float | None = None
    events: deque[Mapping[str, Any]] = field(default_factory=lambda: deque(maxlen=MAX_EVENTS))
    told: deque[tuple[Any, ...]] = field(default_factory=lambda: deque(maxlen=MAX_TOLD))
    collect: bool = False
    outcome: Outcome | None = None
    failed: str = ""
    release: bool = False
    released: bool = False
    side: Side | None = None
    apart: bool | None = None


class Watcher:
    """Keeps what masters say."""

    def __init__(
        self,
        on_news: Callable[[Key], None],
        clock: Callable[[], float] = time.monotonic,
        port: int = pods.CONTROL_PORT,
    ) -> None:
        """``on_news`` is told the key of a run of which something new was heard."""
        self._on_news, self._clock, self._port = on_news, clock, port
        self._runs: dict[Key, _Run] = {}
        self._fetching = asyncio.Semaphore(1)  # results are the one thing here that takes memory

    def watch(self, key: Key, master: Master) -> None:
        """Listen to a run's master from now on."""
        run = self._runs.setdefault(key, _Run(master))
        run.master = master

    def master(self, key: Key) -> Master | None:
        """Give the master of a run that is listened to."""
        run = self._runs.get(key)
        return run.master if run else None

    def forget(self, key: Key) -> None:
        """Listen no more."""
        self._runs.pop(key, None)

    def progress(self, key: Key) -> Progress | None:
        """Give what a master said last; None if it never said anything."""
        run = self._runs.get(key)
        return run.progress if run else None

    def tell(self, key: Key, event: Mapping[str, Any]) -> None:
        """Tell a run's master of an event, once, as soon as it listens."""
        run = self._runs.get(key)
        if run is not None and _identity(event) not in run.told:
            run.told.append(_identity(event))
            run.events.append(event)

    def collect(self, key: Key) -> Outcome | None:
        """Fetch a run's results; gives them once they are here."""
        run = self._runs.get(key)
        if run is None:
            return None
        run.collect = True
        return run.outcome

    def failed(self, key: Key) -> str:
        """Tell why results could not be fetched the last time; empty if nothing was wrong."""
        run = self._runs.get(key)
        return run.failed if run else ""

    def release(self, key: Key) -> bool:
        """Tell the master that it may end; gives whether it knows."""
        run = self._runs.get(key)
        if run is None:
            return False
        run.release = True
        return run.released

    def look(self, key: Key, side: Side | None) -> bool | None:
        """Look whether a region is cut off; None while that is not known. None for the side: look no more."""
        run = self._runs.get(key)
        if run is None:
            return None
        if side is None or run.side is None or run.side.region != side.region:
            run.apart = None
        run.side = side
        return run.apart

    async def run(self) -> None:
        """Listens until it is cancelled."""
        # trust_env off: no proxy stands between the operator and a pod.
        async with aiohttp.ClientSession(trust_env=False) as session, asyncio.TaskGroup() as group:
            running: dict[Key, asyncio.Task[None]] = {}
            while True:
                for key in self._runs:
                    if key not in running or running[key].done():
                        running[key] = group.create_task(self._round(session, key))
                running = {key: task for key, task in running.items() if not task.done()}
                await asyncio.sleep(TICK)

    async def _round(self, session: aiohttp.ClientSession, key: Key) -> None:
        run = self._runs[key]
        before = _news(run)
        if run.master.address:
            try:
                await self._speak(session, run)
            except ControlError as error:
                log.debug("%s/%s: %s", *key, error)
        if run.side is not None:
            apart = await _apart(session, run.side)
            run.apart = apart if run.side is not None else None
        if key in self._runs and before != _news(run):
            self._on_news(key)

    async def _speak(self, session: aiohttp.ClientSession, run: _Run) -> None:
        control = Control(session, run.master.address, run.master.token, self._port)
        now = self._clock()
        if run.asked is None or now - run.asked >= INTERVAL:
            run.asked = now
            run.progress, run.heard = await control.progress(), now
        while run.events:
            event = run.events[0]
            try:
                await control.tell(event)
            except ControlError as error:
                if not 400 <= error.status < 500:
                    raise
                log.warning("the master does not take event %s: %s", event.get("kind"), error)
            if run.events and run.events[0] is event:
                run.events.popleft()
        if run.collect and run.outcome is None and run.progress and run.progress.state == "done":
            await self._fetch(control, run, run.progress)
        if run.release and not run.released:
            await control.collected()
            run.released = True

    async def _fetch(self, control: Control, run: _Run, progress: Progress) -> None:
        async with self._fetching:
            try:
                outcome = await results.gather(await control.listing(), control.file, claim=run.master.claim)
            except ControlError as error:
                run.failed = str(error)
                raise
        run.outcome = replace(outcome, passed=progress.passed is True, problems=progress.problems)


async def _apart(session: aiohttp.ClientSession, side: Side) -> bool | None:
    """Tell whether all members of a region are connected to each other at most; None if one does not answer."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def ask(address: str) -> Mapping[str, Any] | None:
        async with slots:
            return await _status(session, address, side)

    answers = await asyncio.gather(*map(ask, side.addresses))
    told = [answer for answer in answers if answer is not None]
    if len(told) < len(answers) or not told:
        return None
    inside = {answer.get("peerId") for answer in told}
    return all(
        isinstance(peer, dict) and peer.get("peerId") in inside
        for answer in told
        for peer in answer.get("peers") or ()
    )


async def _status(session: aiohttp.ClientSession, address: str, side: Side) -> Mapping[str, Any] | None:
    url = f"http://{f'[{address}]' if ':' in address else address}:{side.port}/peersdb/status"
    timeout = aiohttp.ClientTimeout(total=MEMBER_TIMEOUT)
    try:
        for token in side.tokens or ("",):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            async with session.get(url, headers=headers, allow_redirects=False, timeout=timeout) as response:
                if response.status == 200:
                    document = json.loads(await response.content.read(MAX_STATUS))
                    return document if isinstance(document, dict) else None
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError, RecursionError) as error:
        log.debug("%s: %r", url, error)
    return None


def _identity(event: Mapping[str, Any]) -> tuple[Any, ...]:
    """What makes an event the same one."""
    return event["kind"], event.get("wave") or event["at"]


def _news(run: _Run) -> tuple[Any, ...]:
    return run.progress, run.outcome is not None, run.failed, run.released, run.apart
