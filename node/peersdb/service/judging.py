"""What this node itself finds out about a file: whether it is whole, and what the validators say of its content."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import trio

from peersdb.core.ballots import MAX_VALIDATORS, Vote
from peersdb.core.cid import CID
from peersdb.core.quorum import verdict_of
from peersdb.errors import InvalidData
from peersdb.store.failures import mapped_errors

#: Each block of a file was checked against its CID.
INTEGRITY = "integrity/1"
INTEGRITY_HASH = hashlib.sha256(INTEGRITY.encode()).digest()
#: What a sniffer needs of a file (bytes).
HEAD = 64 * 1024
#: Files judged at once besides those that wait: each is on the disk a second time meanwhile.
AT_ONCE = 2

#: Gives the content piece by piece; each block of it was checked against its CID.
Read = Callable[[], AsyncGenerator[bytes, None]]


class Check(Protocol):
    """One validator with its options.

    Attributes:
        name: with its version.
        hash: of all that decides its verdict, 32 bytes.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def hash(self) -> bytes: ...  # noqa: D102


class Finding(Protocol):
    """What a validator says of a file, and why."""

    @property
    def verdict(self) -> str: ...  # noqa: D102
    @property
    def reason(self) -> str: ...  # noqa: D102


class Validators(Protocol):
    """The validators that this node runs.

    Attributes:
        hash: of all of them and of the rules by which they are chosen: what was judged by others is judged again.
    """

    hash: bytes

    def checks_for(self, name: str, head: bytes) -> Sequence[Check]:
        """Those for a file of this name (or none) that begins so."""
        ...

    async def run(self, check: Any, file: Path) -> Finding:
        """What one of them, of `checks_for`, says of a file, or `SandboxUnavailable`: nothing else is raised."""
        ...


@dataclass(frozen=True, slots=True)
class Judgement:
    """What this node found out about a file.

    Attributes:
        votes: what each validator says.
        verdict: all of them together.
        reason: why it is not valid; empty where it is.
    """

    votes: tuple[Vote, ...]
    verdict: str
    reason: str


class Judge:
    """Judges files, some at once, the others in their turn.

    Attributes:
        hash: of what judges here; a judgement of another hash is out of date.
    """

    def __init__(self, scratch: Path) -> None:
        """Judges whether files are whole, until validators are there.

        Args:
            scratch: a directory for the files under judgement.
        """
        self._validators: Validators | None = None
        self._scratch = scratch
        self._turn = trio.CapacityLimiter(AT_ONCE)
        self.hash = INTEGRITY_HASH

    def use(self, validators: Validators) -> None:
        """Asks these of each file that is whole."""
        self._validators = validators
        self.hash = hashlib.sha256(INTEGRITY_HASH + validators.hash).digest()

    async def judge(self, root: CID, name: str, read: Read) -> Judgement:
        """What this node says of a file whose blocks are here.

        Args:
            root: the file.
            name: as its contributor calls it; may be empty.
            read: its content.

        Raises:
            StorageError: it cannot be laid out for the validators; that says nothing of the file.
            SandboxUnavailable: nor does it that they cannot be run.
            NotFound, CorruptData: a part of it is not here, or damaged on the disk.
        """
        async with self._turn:
            if self._validators is None:
                return _judgement(root, [(INTEGRITY, INTEGRITY_HASH, *await _whole(read, None))])
            with mapped_errors(f"judging in {self._scratch}"):
                await trio.Path(self._scratch).mkdir(parents=True, exist_ok=True)
                with tempfile.NamedTemporaryFile(dir=self._scratch) as laid_out:
                    found = [(INTEGRITY, INTEGRITY_HASH, *await _whole(read, Path(laid_out.name)))]
                    if found[0][2] == "valid":
                        found += await self._run_all(Path(laid_out.name), name)
            return _judgement(root, found)

    async def _run_all(self, file: Path, name: str) -> list[tuple[str, bytes, str, str]]:
        validators = self._validators
        if validators is None:
            return []
        async with await trio.open_file(file, "rb") as laid_out:
            head = await laid_out.read(HEAD)
        found = []
        for check in list(validators.checks_for(name, head))[: MAX_VALIDATORS - 1]:
            finding = await validators.run(check, file)
            found.append((check.name, check.hash, finding.verdict, finding.reason))
        return found


async def _whole(read: Read, target: Path | None) -> tuple[str, str]:
    """Reads all of a file, and lays it out where it is asked for."""
    try:
        async with aclosing(read()) as chunks:
            if target is None:
                async for _ in chunks:
                    pass
            else:
                async with await trio.open_file(target, "wb") as file:
                    async for chunk in chunks:
                        await file.write(chunk)
    except (
        InvalidData
    ) as error:  # its blocks are not those of a file; one that is missing or damaged says nothing of it
        return "invalid", str(error)
    return "valid", ""


def _judgement(root: CID, found: Sequence[tuple[str, bytes, str, str]]) -> Judgement:
    votes = tuple(Vote(root, name, hash_, verdict) for name, hash_, verdict, _ in found)
    verdict = verdict_of(vote.verdict for vote in votes)
    reasons = [f"{name}: {reason}" for name, _, one, reason in found if one == verdict != "valid" and reason]
    return Judgement(votes, verdict, "; ".join(reasons)[:1000])
