"""Damage of the database: noticed, rebuilt while the node runs, what is missing fetched from peers, the rest named.

It is noticed when SQLite meets it, and by a look at everything (`_scrub`) soon after a start and once a day: SQLite has
no checksums, but an entry hashes to its name. A rebuild keeps whatever can be read; who reads goes on meanwhile, who
writes waits. Then anti-entropy brings back what peers have.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import structlog
import trio

from peersdb.core.cid import parse_path
from peersdb.errors import CorruptData, PeersDBError
from peersdb.service.arrivals import Arrivals
from peersdb.service.environment import Environment
from peersdb.service.files import Files
from peersdb.service.replication import Replication
from peersdb.store import opening, repair
from peersdb.store.append import hash_of
from peersdb.store.damage import FETCHING, Damage, LostEntry, load
from peersdb.store.log import LogStore
from peersdb.store.repo import Repo
from peersdb.store.scrub import Scrub, drop_heads
from peersdb.store.tables import Pins

log = structlog.get_logger("healing")

#: The first look at everything comes so long (seconds) after a start, which is busy enough, and then once a day.
FIRST_SCRUB, SCRUB = 2.0, 86_400.0
#: Between two pages of entries that are looked at (seconds): 100,000 entries take some 15 s, and the node serves.
PACE = 0.01
#: Between two requests to end SQLite's check (seconds).
INTERRUPT = 0.02
#: Rebuilds of one run at most: what is damaged again and again lies on a disk that fails.
MAX_REBUILDS = 3
#: A rebuild that failed (a full disk) is tried again after so long (seconds) ...
RETRY = 60.0
#: Looks at what came back, and the longest wait between two of them (seconds).
SETTLE, SETTLE_MAX = 1.0, 30.0
#: So many looks in a row must find all peers in step before what is missing counts as lost.
SURE = 2
#: Identities asked for at once, and files looked at.
MAX_ASKED = 256


class Healing:
    """Keeps the database whole."""

    def __init__(
        self,
        *,
        repo: Repo,
        store: LogStore,
        pins: Pins,
        files: Files,
        replication: Replication,
        arrivals: Arrivals,
        environment: Environment,
        recheck: Callable[[], Awaitable[None]],
    ) -> None:
        """Works once `run` runs.

        Args:
            recheck: makes a full replica look at all its files again.
        """
        self._repo, self._store, self._pins, self._files = repo, store, pins, files
        self._replication, self._arrivals, self._environment = replication, arrivals, environment
        self._recheck = recheck
        self._damage = load(repo.path)
        self._noticed: list[CorruptData] = []
        self._wake = trio.Event()
        self._not_before = 0.0
        self._rebuilds = 0
        self._looks_in_sync, self._given_up = 0, False
        self._token: trio.lowlevel.TrioToken | None = None
        repo.database.on_damage = self._met

    @property
    def status(self) -> dict[str, Any] | None:
        """The last damage and what became of it; None without any."""
        return self._damage.as_status() if self._damage else None

    def _notice(self, error: CorruptData) -> None:
        if not self._noticed:
            self._noticed.append(error)
            self._wake.set()

    def _met(self, error: CorruptData) -> None:
        """As `_notice`, from any thread."""
        if self._token is not None and not self._noticed:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._notice, error)

    async def run(self) -> None:
        """Heals what is noticed; ends when cancelled."""
        self._token = trio.lowlevel.current_trio_token()
        recheck = self._open  # of a rebuild before this start
        scrub_at = trio.current_time() + self._environment.jitter(FIRST_SCRUB)
        settle = SETTLE
        while True:
            until = min(
                scrub_at, trio.current_time() + (self._environment.jitter(settle) if self._open else SCRUB)
            )
            with trio.move_on_at(until):
                await self._wake.wait()
            self._wake = trio.Event()
            try:
                if recheck:
                    await self._recheck()
                    recheck = False
                if trio.current_time() >= scrub_at:
                    scrub_at = trio.current_time() + self._environment.jitter(SCRUB)
                    self._noticed += await self._scrub()
                if self._noticed:
                    settle = SETTLE
                    try:
                        if not await self._heal(self._noticed[0]):
                            self._not_before = trio.current_time() + RETRY
                            scrub_at = self._not_before  # which finds it again
                    finally:  # what was met meanwhile is of the old file
                        self._noticed.clear()
                elif self._open:
                    settle = min(2 * settle, SETTLE_MAX)
                    await self._settle()
            except PeersDBError as error:
                log.error("healing failed, tried again", code=error.code, error=str(error))

    async def _heal(self, noticed: CorruptData) -> bool:
        """Makes the database anew if it is damaged; says whether nothing of that is left to do."""
        if trio.current_time() < self._not_before:
            return True  # it will be found again
        if not noticed.sure and not await self._scrub():
            log.warning("a read of the database failed, and a second look found nothing", error=str(noticed))
            return True
        return await self._rebuild(str(noticed))

    @property
    def _open(self) -> bool:
        """Whether something may still come back."""
        return self._damage is not None and self._damage.state == FETCHING

    # --- looking -------------------------------------------------------------------------------------

    async def _scrub(self) -> list[CorruptData]:
        """Looks at everything until something is damaged; heads that turned out to have a child are taken back."""
        if not await self._sound():
            return [CorruptData("SQLite's integrity check")]
        scrub = Scrub()
        while not scrub.done:
            try:
                await self._repo.database.read(scrub.step)
            except CorruptData as error:
                return [error]
            await trio.sleep(PACE)
        if scrub.wrong_heads and not scrub.findings:
            await self._repo.database.write(lambda conn: drop_heads(conn, scrub.wrong_heads), durable=False)
        return [CorruptData(finding) for finding in scrub.findings[:1]]

    async def _sound(self) -> bool:
        """SQLite's own check, in a thread that ends soon after it is cancelled."""
        begun: list[sqlite3.Connection] = []
        ended = False

        async def interrupt() -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    while not ended:  # again: it may have been between two statements
                        for conn in begun:
                            with suppress(sqlite3.Error):  # it was closed just now
                                conn.interrupt()
                        await trio.sleep(INTERRUPT)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(interrupt)
            try:
                return await trio.to_thread.run_sync(repair.sound, self._repo.database.path, begun.append)
            except sqlite3.Error as error:
                log.info("the database could not be looked at", error=str(error))
                return True
            finally:
                ended = True
                nursery.cancel_scope.cancel()

    # --- rebuilding ----------------------------------------------------------------------------------

    async def _rebuild(self, reason: str) -> bool:
        """Makes the database anew; says whether it did, or never will."""
        if self._rebuilds >= MAX_REBUILDS:
            if not self._given_up:
                log.error(
                    "the database is damaged again and again: the disk fails, replace it", reason=reason
                )
            self._given_up = True
            return True
        database, own = self._repo.database, self._repo.signer.identity
        path, at = database.path, repair.free_stamp(database.path)
        log.error("the database is damaged, rebuilding it", path=str(path), reason=reason)

        def make(file: int) -> Damage:
            return opening.make(path, file, own, stopped=lambda: database.closing, reason=reason, at=at)

        try:
            self._damage = await database.replace(make, lambda: repair.swap(path, at))
        except PeersDBError as error:
            log.error("the database could not be rebuilt", code=error.code, error=str(error), seconds=RETRY)
            return False
        self._rebuilds += 1
        opening.tell(self._damage)
        await self._replication.reload()
        await self._recheck()
        return True

    # --- what comes back -----------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Looks whether all is back, and ends it when it is, or when nobody has the rest."""
        damage = self._damage
        if damage is None:
            return
        await self._ask_identities()
        away = await self._away(damage)
        still = max(len(away), self._unnamed(damage))
        # A peer that has just come may have more to tell than it did so far.
        self._looks_in_sync = self._looks_in_sync + 1 if self._replication.in_sync else 0
        if (still or self._arrivals.lacking) and self._looks_in_sync < SURE:
            return
        if findings := await self._scrub():
            self._notice(findings[0])
            return
        await self._pins.mend(self._repo.signer.public_key, [one.path for one in away if one.path])
        files = await self._incomplete_files()
        if files and self._looks_in_sync < SURE:
            return
        self._damage = damage.ended(tuple(away), still, tuple(files))
        self._damage.save(self._repo.path)
        own = [one.path or one.digest for one in away if one.own]
        if own or files:
            log.error("own posts are lost: none of the connected peers has them", entries=own, files=files)
        log.warning("the damage is over", state=self._damage.state, lost=still, lost_files=len(files))

    def _unnamed(self, damage: Damage) -> int:
        """How many of the missing entries that are not known by name are not back, at least."""
        state = self._replication.state
        if damage.missing <= len(damage.lost) or state is None:
            return 0
        return max(0, damage.entries + damage.missing - state.fingerprint.count)

    async def _away(self, damage: Damage) -> list[LostEntry]:
        """The lost entries that are not back."""
        hashes = {one: hash_of(bytes.fromhex(one.digest)) for one in damage.lost}
        known = await self._store.known(list(hashes.values()))
        return [one for one, hash_ in hashes.items() if hash_ not in known]

    async def _ask_identities(self) -> None:
        lacking = await self._store.lacking_identities()
        self._arrivals.lacking = set(lacking)
        if lacking:
            self._replication.want(list(lacking.values())[:MAX_ASKED])

    async def _incomplete_files(self) -> list[str]:
        """This node's files that lack a block which no connected peer has."""
        lost, last = [], ""
        while paths := await self._pins.kept_after(last, MAX_ASKED):
            for path in paths:
                last = path
                try:
                    await self._files.fetch(parse_path(path), None)
                except PeersDBError as error:
                    log.warning("a file is incomplete and nobody has the rest", path=path, error=str(error))
                    lost.append(path)
        return lost
