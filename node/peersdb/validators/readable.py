"""What a validator may read: the interpreter's libraries, and nothing private that may lie among them."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path

#: Entries of a folder that is allowed entry by entry, as something private lies in it.
MAX_ENTRIES = 2000


def readable(private: Sequence[Path]) -> list[str]:
    """Folders and files that may be read: where Python looks for modules.

    Args:
        private: folders that may not; where one lies in a folder of modules, only that folder's other entries are
            allowed.
    """
    # Started as `python -m`, Python looks for modules in the current folder: that is not a folder of modules.
    elsewhere = {Path.cwd(), Path.home(), Path("/")}
    named = (*sys.path, sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
    paths = {Path(path).resolve() for path in named if path} - elsewhere
    closed = [path.resolve() for path in private]
    found = (one for path in paths for one in _without(path, closed))
    return sorted({str(path) for path in found})


def _without(path: Path, closed: Sequence[Path]) -> Iterable[Path]:
    if any(path == one or one in path.parents for one in closed) or not path.exists():
        return
    if not any(path in one.parents for one in closed):
        yield path
        return
    entries = sorted(path.iterdir())
    for entry in entries[:MAX_ENTRIES]:
        if not entry.is_symlink():
            yield from _without(entry, closed)
