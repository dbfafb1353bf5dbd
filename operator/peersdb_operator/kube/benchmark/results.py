"""What is kept of a run's results: as much as a ConfigMap takes, the rest by name. Pure, but for the fetching."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from peersdb_operator.errors import ControlError

SUMMARY = "summary.json"

#: The bytes of a ConfigMap: it takes 1 MiB, names and metadata with it.
BUDGET = 1000 * 1024
#: A file of so many bytes is fetched and packed; a larger one would not fit afterwards, and this process carries it.
MAX_FILE = 16 * 1024 * 1024
MAX_SUMMARY = 256 * 1024

_PLAIN = ("summary.json", "run.json", "benchmark.json", "benchmark.csv")
_PACKED = ("report.html", "nodes.csv", "samples.csv")
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,240}\Z")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run ended with.

    Attributes:
        passed: what the master says of it.
        problems: what went wrong, in its words.
        summary: the content of summary.json.
        files: what there is, by the names that it is kept under.
        omitted: what did not fit.
        data: text by name, for the ConfigMap.
        binary: bytes by name, likewise.
        claim: whether all is on the claim that the manifest names.
    """

    passed: bool
    problems: tuple[str, ...]
    summary: Mapping[str, Any]
    files: tuple[str, ...]
    omitted: tuple[str, ...] = ()
    data: Mapping[str, str] = field(default_factory=dict)
    binary: Mapping[str, bytes] = field(default_factory=dict)
    claim: bool = False


async def gather(
    listing: Mapping[str, int], fetch: Callable[[str, int], Awaitable[bytes]], *, claim: bool
) -> Outcome:
    """Fetch what is kept.

    Args:
        listing: sizes in bytes by name.
        fetch: gives a file of at most so many bytes.
        claim: whether the files are on a claim already, so that the summary alone is needed.

    Raises:
        ControlError: the master does not give them, or there is no summary.
    """
    if SUMMARY not in listing:
        raise ControlError("the master has no summary.json")
    text = await fetch(SUMMARY, MAX_SUMMARY)
    try:
        summary = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ControlError("the master's summary.json is no JSON") from error
    if not isinstance(summary, dict):
        raise ControlError("the master's summary.json is no object")
    if claim:
        return Outcome(False, (), summary, tuple(sorted(listing)), claim=True)
    packer = Packer()
    packer.add(SUMMARY, text)
    for name in order(listing):
        if name == SUMMARY:
            continue
        if listing[name] > MAX_FILE or not _KEY.match(name) or packer.left <= 0:
            packer.omitted.append(name)
            continue
        try:
            content = await fetch(name, MAX_FILE)
        except ControlError:
            packer.omitted.append(name)
            continue
        await asyncio.to_thread(packer.add, name, content)
    return packer.outcome(summary)


def order(listing: Mapping[str, int]) -> list[str]:
    """Give the names in the order in which they are kept: what tells most for its size first."""
    known = [name for name in (*_PLAIN, *_PACKED) if name in listing]
    return [*known, *sorted(name for name in listing if name not in known)]


class Packer:
    """Puts files into a ConfigMap as long as they fit.

    Attributes:
        left: bytes that still fit.
        omitted: names of what did not.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        """Takes ``budget`` bytes."""
        self.left, self.omitted = budget, list[str]()
        self._data: dict[str, str] = {}
        self._binary: dict[str, bytes] = {}

    def add(self, name: str, content: bytes) -> None:
        """Take a file, as text if it is a small one of those, else compressed."""
        text = _text(content) if name in _PLAIN else None
        if text is not None and self._fits(name, content):
            self._data[name] = text
            return
        packed = gzip.compress(content, 9, mtime=0)
        if self._fits(f"{name}.gz", packed):
            self._binary[f"{name}.gz"] = packed
        else:
            self.omitted.append(name)

    def outcome(self, summary: Mapping[str, Any]) -> Outcome:
        """Give what was taken."""
        files = tuple(sorted([*self._data, *self._binary]))
        return Outcome(False, (), summary, files, tuple(self.omitted), self._data, self._binary)

    def _fits(self, name: str, content: bytes) -> bool:
        size = len(name) + len(content)
        if size > self.left:
            return False
        self.left -= size
        return True


def _text(content: bytes) -> str | None:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None
