"""What happened to a damaged database, kept beside it in ``damage.json``: until all is back, and for who asks later."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from peersdb.errors import StorageError
from peersdb.store.blocks import write_synced
from peersdb.store.failures import mapped_errors
from peersdb.store.proof import Salvaged

#: What is still done about it: missing entries come from peers; all is there again; some is nowhere.
FETCHING, HEALED, LOST = "fetching", "healed", "lost"


@dataclass(frozen=True)
class LostEntry:
    """An entry that lay on a damaged page; see `proof.Lost`."""

    digest: str
    path: str
    own: bool


@dataclass(frozen=True)
class Damage:
    """One damage.

    Attributes:
        at: when the database was rebuilt, as in the kept file's name.
        reason: how it was noticed.
        damaged: the tables with their pages and rows that could not be read.
        kept: the damaged file's name.
        entries: how many could be read.
        missing: how many could not; from the end on how many nobody has.
        lost: those that are known by name; from the end on those that nobody has.
        files: paths of this node's own files that lack a block which nobody has.
        state: `FETCHING`, `HEALED` or `LOST`.
    """

    at: str
    reason: str
    damaged: tuple[str, ...]
    kept: str
    entries: int
    missing: int
    lost: tuple[LostEntry, ...]
    files: tuple[str, ...] = ()
    state: str = FETCHING

    @classmethod
    def of(cls, found: Salvaged, reason: str, at: str, kept: str) -> Self:
        """What a rebuild found."""
        lost = tuple(LostEntry(one.digest.hex(), one.path or "", one.own) for one in found.lost)
        return cls(at, reason, found.damaged, kept, found.entries, found.missing, lost)

    def ended(self, lost: tuple[LostEntry, ...], still: int, files: tuple[str, ...]) -> Self:
        """The end of it: entries that nobody has, how many they are, and files."""
        return replace(self, lost=lost, missing=still, files=files, state=LOST if still or files else HEALED)

    def as_status(self) -> dict[str, Any]:
        """As ``status`` shows it."""
        return {
            "at": self.at,
            "state": self.state,
            "reason": self.reason,
            "damaged": list(self.damaged),
            "kept": self.kept,
            "entries": self.entries,
            "missing": self.missing,
            "lost": [one.path or one.digest for one in self.lost] if self.state == LOST else [],
            "lostFiles": list(self.files),
        }

    def save(self, repo: Path) -> None:
        """Writes it into the repo.

        Raises:
            StorageError: it cannot be written.
        """
        with mapped_errors(f"writing {repo / 'damage.json'}"):
            write_synced(repo / "damage.json", (json.dumps(asdict(self)) + "\n").encode())


def load(repo: Path) -> Damage | None:
    """The last damage of a repo; None without any, or where the file cannot be read."""
    try:
        value = json.loads((repo / "damage.json").read_bytes())
        lost = tuple(LostEntry(**one) for one in value.pop("lost"))
        damaged, files = tuple(value.pop("damaged")), tuple(value.pop("files"))
        return Damage(**value, damaged=damaged, files=files, lost=lost)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, StorageError):
        return None
