"""Leader election on a Lease: at most one operator works, and another takes over when it is gone.

The library's own (``kubernetes.aio.leaderelection`` 37.0) cannot make its Lease, and leaves the leader's work running
when it has lost it. The rules are client-go's: a Lease is written by compare-and-swap; whether another's is over is
judged by the own clock alone, from when its renewal was first seen; a leader that cannot renew stops its work before
others may start theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from peersdb_operator.errors import KubeError, NotFound
from peersdb_operator.kube.client import Kube
from peersdb_operator.kube.kinds import LEASE, Object

log = logging.getLogger("peersdb.lease")


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of an election.

    Attributes:
        duration: a Lease that was not renewed for so long is over.
        deadline: a leader that could not renew for so long stops its work; less than ``duration``.
        period: between two tries.
    """

    duration: int = 15
    deadline: float = 10.0
    period: float = 2.0


class Lease:
    """One operator's part in the election."""

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        name: str,
        identity: str,
        *,
        times: Times = Times(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Stands for election as ``identity``, which no other may have."""
        self._kube, self._namespace, self._name, self._identity = kube, namespace, name, identity
        self._times, self._clock = times, clock
        self._seen: tuple[Any, float] = (None, 0.0)

    async def lead(self, work: Callable[[], Awaitable[None]]) -> None:
        """Waits to be elected, works as long as the Lease is ours, and stands for election again; for ever."""
        while True:
            renewed = await self._elected()
            log.info("leading as %s", self._identity)
            task = asyncio.ensure_future(work())
            try:
                await self._keep(task, renewed)
            finally:
                task.cancel()
                outcome = (await asyncio.gather(task, return_exceptions=True))[0]
                log.info("not leading any more")
                await self._release()
            if isinstance(outcome, Exception):
                raise outcome

    async def _elected(self) -> float:
        """Waits until the Lease is ours; gives the time from which its duration counts.

        That is before the request that took it: the API server may have written it long before it answers, and then it
        is over for others long before we would think so.
        """
        while True:  # no watch tells that a lease ran out
            began = self._clock()
            if await self._renew() and self._clock() - began < self._times.deadline:
                return began
            await asyncio.sleep(self._times.period)

    async def _keep(self, task: asyncio.Future[None], renewed: float) -> None:
        """Renews until the work ends or the deadline passes without a renewal."""
        while not task.done() and self._clock() - renewed < self._times.deadline:
            await asyncio.wait({task}, timeout=self._times.period)
            began = self._clock()
            left = self._times.deadline - (began - renewed)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.1, left)):
                    if not task.done() and await self._renew():
                        renewed = began
        if not task.done():
            log.warning("the lease could not be renewed for %.0f s", self._times.deadline)

    async def _renew(self) -> bool:
        """Takes or renews the Lease; False if it is another's, or the API server did not let us."""
        try:
            return await self._attempt()
        except KubeError as error:
            log.warning("lease: %s", error)
            return False

    async def _attempt(self) -> bool:
        try:
            lease = await self._kube.get(LEASE, self._namespace, self._name)
        except NotFound:
            await self._write(self._empty(), self._identity)
            return True
        spec = lease.get("spec") or {}
        record = (spec.get("holderIdentity"), spec.get("renewTime"))
        if record != self._seen[0]:
            self._seen = (record, self._clock())
        holder = spec.get("holderIdentity")
        age = self._clock() - self._seen[1]
        if (
            holder
            and holder != self._identity
            and age < spec.get("leaseDurationSeconds", self._times.duration)
        ):
            return False
        await self._write(lease, self._identity)
        return True

    async def _release(self) -> None:
        """Lets another lead at once, if the Lease is still ours."""
        with contextlib.suppress(KubeError, TimeoutError):
            async with asyncio.timeout(2):
                lease = await self._kube.get(LEASE, self._namespace, self._name)
                if lease.get("spec", {}).get("holderIdentity") == self._identity:
                    await self._write(lease, "")

    async def _write(self, lease: Object, holder: str) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = dict(lease.get("spec") or {})
        if holder and spec.get("holderIdentity") != holder:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = spec.get("leaseTransitions", 0) + 1
        spec["holderIdentity"], spec["renewTime"] = holder, now
        spec["leaseDurationSeconds"] = self._times.duration if holder else 1
        document = {**lease, "spec": spec}
        if "resourceVersion" in lease["metadata"]:
            await self._kube.replace(LEASE, document)
        else:
            await self._kube.create(LEASE, document)

    def _empty(self) -> Object:
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
        }
