"""Joining entries into the log, as a pure plan.

The log is a set of entries that only grows; an entry is in it only with all its parents. The database and
the in-memory `Log` of the laws both join by `plan_join` and `next_heads` and by nothing else.
"""

import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self

from peersdb.core.clock import Clock
from peersdb.core.entry import MAX_NEXT, Entry, create_entry
from peersdb.core.identity import Signer


@dataclass(frozen=True, slots=True)
class JoinPlan:
    """What becomes of a batch.

    Attributes:
        accepted: may be stored in this order: parents first, otherwise by `Entry.order`.
        parked: by hash, the entries that wait, each with its parents that are neither known nor accepted.
            A parent that waits itself is among them; subtract the keys of this dict to learn what to fetch.
        duplicates: how many were known already or came twice.
    """

    accepted: list[Entry]
    parked: dict[str, tuple[Entry, frozenset[str]]]
    duplicates: int


def plan_join(batch: Iterable[Entry], known: Callable[[str], bool]) -> JoinPlan:
    """Plan the join of checked entries.

    Args:
        batch: entries in any order.
        known: says whether the log has the entry of this hash.
    """
    fresh: dict[str, Entry] = {}
    duplicates = 0
    for entry in batch:
        if entry.hash in fresh or known(entry.hash):
            duplicates += 1
        else:
            fresh[entry.hash] = entry

    missing: dict[str, set[str]] = {}
    children: dict[str, list[str]] = {}
    ready: list[tuple[tuple[int, str, str], str]] = []
    for entry_hash, entry in fresh.items():
        waits = {parent for parent in entry.next if parent in fresh or not known(parent)}
        missing[entry_hash] = waits
        for parent in waits:
            children.setdefault(parent, []).append(entry_hash)
        if not waits:
            ready.append((entry.order, entry_hash))

    heapq.heapify(ready)
    accepted: list[Entry] = []
    while ready:
        _, entry_hash = heapq.heappop(ready)
        accepted.append(fresh.pop(entry_hash))
        for child in children.get(entry_hash, ()):
            missing[child].discard(entry_hash)
            if not missing[child]:
                heapq.heappush(ready, (fresh[child].order, child))
    parked = {entry_hash: (entry, frozenset(missing[entry_hash])) for entry_hash, entry in fresh.items()}
    return JoinPlan(accepted, parked, duplicates)


def next_heads(heads: frozenset[str], accepted: Iterable[Entry]) -> frozenset[str]:
    """Say which entries have no known child once a plan's accepted entries are stored."""
    entries = list(accepted)
    parents = {parent for entry in entries for parent in entry.next}
    return (heads | {entry.hash for entry in entries}) - parents


def next_clock(signer_key: str, head_clocks: Iterable[Clock]) -> Clock:
    """Tick: one more than the latest head.

    Args:
        signer_key: the writer's public key in hex.
        head_clocks: the clocks of the log's heads.
    """
    return Clock(signer_key, max((clock.time for clock in head_clocks), default=0) + 1)


@dataclass(frozen=True, slots=True)
class Log:
    """An immutable log in memory: the model of what the database stores.

    Attributes:
        log_id: the address its entries are signed for.
        entries: by hash.
        heads: hashes of the entries without a known child.
    """

    log_id: str
    entries: Mapping[str, Entry] = field(default_factory=lambda: MappingProxyType({}))
    heads: frozenset[str] = frozenset()

    def join_entries(self, batch: Iterable[Entry]) -> Self:
        """Add what can join; what has to wait is left out."""
        plan = plan_join(batch, self.entries.__contains__)
        entries = {**self.entries, **{entry.hash: entry for entry in plan.accepted}}
        return type(self)(self.log_id, MappingProxyType(entries), next_heads(self.heads, plan.accepted))

    def join(self, other: "Log") -> Self:
        """Unite two logs."""
        return self.join_entries(other.entries.values())

    def append(self, signer: Signer, payload: dict[str, Any]) -> Self:
        """Add a new entry above the heads; of more than 32, the latest ones."""
        heads = sorted(
            (self.entries[head] for head in self.heads), key=lambda entry: entry.order, reverse=True
        )
        clock = next_clock(signer.key_hex, (entry.clock for entry in heads))
        parents = tuple(entry.hash for entry in heads[:MAX_NEXT])
        return self.join_entries([create_entry(signer, self.log_id, payload, clock, parents)])

    @property
    def values(self) -> list[Entry]:
        """All entries in the log's total order."""
        return sorted(self.entries.values(), key=lambda entry: entry.order)
