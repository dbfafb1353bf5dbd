"""Asks each pod how it stands: how much it has, which log it holds. Never on the way of a reconcile.

A pod that does not answer is unknown, not empty: its last answer is forgotten after `STALE`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from peersdb_operator.kube.cache import Cache, Key
from peersdb_operator.kube.kinds import POD, Object, name_of
from peersdb_operator.kube.observed import PodFacts

log = logging.getLogger("peersdb.poller")

#: Seconds for one pod: it answers from memory, in milliseconds.
TIMEOUT = 1.0
#: Pods asked at once, over all clusters.
AT_ONCE = 50
#: Seconds between two rounds of a cluster: one that settles is looked at often, one at rest seldom.
EAGER, CALM = 1.0, 15.0
#: An answer is forgotten after so many seconds.
STALE = 60.0
#: A status has one or two KiB and grows with the number of connected peers; more is no node's.
MAX_ANSWER = 1024 * 1024
#: What is told goes into the status: an address has 60 characters, a version 10, and a count is below this.
MAX_TEXT, MAX_NUMBER = 256, 2**53


@dataclass(frozen=True, slots=True)
class Target:
    """How the pods of one cluster are asked.

    Attributes:
        port: of their HTTP API.
        tokens: to present, the newest first; none where there are none. A pod that has not read the newest yet
            still takes the one before.
        eager: whether something is waited for.
    """

    port: int
    tokens: tuple[str, ...]
    eager: bool


class Poller:
    """Keeps what pods say."""

    def __init__(
        self,
        cache: Cache,
        on_news: Callable[[Key], None],
        took: Callable[[float], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Reads the pods of ``cache``; ``on_news`` is told when an answer says something new."""
        self._cache, self._on_news, self._took, self._clock = cache, on_news, took, clock
        self._targets: dict[Key, Target] = {}
        self._due: dict[Key, float] = {}
        self._facts: dict[Key, dict[str, PodFacts]] = {}
        self._most: dict[Key, int] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)

    def watch(self, key: Key, target: Target) -> None:
        """Ask the pods of a cluster from now on."""
        before = self._targets.get(key)
        self._targets[key] = target
        if before is None or (target.eager and not before.eager):
            self._due[key] = self._clock()

    def forget(self, key: Key) -> None:
        """Ask them no more."""
        for known in (self._targets, self._due, self._facts, self._most):
            known.pop(key, None)

    def facts(self, key: Key) -> Mapping[str, PodFacts]:
        """Give what the pods of a cluster said lately, by name."""
        oldest = self._clock() - STALE
        return {name: fact for name, fact in self._facts.get(key, {}).items() if fact.at >= oldest}

    async def run(self) -> None:
        """Asks until it is cancelled."""
        # trust_env off: no proxy stands between the operator and a pod.
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
            asyncio.TaskGroup() as group,
        ):
            running: dict[Key, asyncio.Task[None]] = {}
            while True:
                now = self._clock()
                for key, due in list(self._due.items()):
                    if due <= now and (key not in running or running[key].done()):
                        running[key] = group.create_task(self._round(session, key))
                running = {key: task for key, task in running.items() if not task.done()}
                await asyncio.sleep(EAGER / 4)

    async def _round(self, session: aiohttp.ClientSession, key: Key) -> None:
        target = self._targets.get(key)
        if target is None:
            return
        interval = EAGER if target.eager else CALM * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        self._due[key] = self._clock() + interval
        pods = [pod for pod in self._cache.of_cluster(POD, key) if pod["status"]["podIP"]]
        answers = await asyncio.gather(*(self._ask(session, pod, target) for pod in pods))
        if key not in self._targets:
            return
        # What a member lacks of what another had a round ago: entries that are on their way are no lag.
        most_before = self._most.get(key, 0)
        known = self._facts.setdefault(key, {})
        before = {name: _news(fact) for name, fact in known.items()}
        for pod, answer in zip(pods, answers, strict=True):
            if answer is not None:
                known[name_of(pod)] = self._fact(answer, most_before)
        names = {name_of(pod) for pod in pods}
        oldest = self._clock() - STALE
        for name in [name for name, fact in known.items() if name not in names or fact.at < oldest]:
            del known[name]
        self._most[key] = max((fact.entries for fact in known.values()), default=0)
        if before != {name: _news(fact) for name, fact in known.items()}:
            self._on_news(key)

    async def _ask(
        self, session: aiohttp.ClientSession, pod: Object, target: Target
    ) -> dict[str, Any] | None:
        host = pod["status"]["podIP"]
        url = f"http://{f'[{host}]' if ':' in host else host}:{target.port}/peersdb/status"
        async with self._slots:
            began = self._clock()
            try:
                for token in target.tokens or ("",):
                    headers = {"Authorization": f"Bearer {token}"} if token else {}
                    # A node redirects nowhere; whoever does so gets no token for another place.
                    async with session.get(url, headers=headers, allow_redirects=False) as response:
                        if response.status == 200:
                            document = json.loads(await _read(response))
                            return document if isinstance(document, dict) else None
            except (TimeoutError, aiohttp.ClientError, OSError, ValueError, RecursionError) as error:
                log.debug("%s: %r", url, error)
            finally:
                self._took(self._clock() - began)
        return None

    def _fact(self, answer: Mapping[str, Any], most_before: int) -> PodFacts:
        entries = int(_number(answer.get("entries")) or 0)
        return PodFacts(
            at=self._clock(),
            entries=entries,
            store_address=_text(answer.get("storeAddress")),
            version=_text(answer.get("version")),
            lag=max(0, most_before - entries),
            replication=_number(answer.get("replicationSeconds")),
        )


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Read a body to its end.

    Raises:
        ValueError: it is longer than `MAX_ANSWER`.
    """
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER:
            raise ValueError(f"more than {MAX_ANSWER} bytes")
    return bytes(body)


def _number(value: object) -> float | None:
    """Take a number that is one, not negative, and an integer to any program if it is an integer."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MAX_NUMBER:
        return float(value)
    return None


def _text(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= MAX_TEXT and value.isprintable() else ""


def _news(fact: PodFacts) -> tuple[Any, ...]:
    """What of an answer changes a status; the number of entries alone does not."""
    return fact.store_address, fact.version, fact.lag > 0
