"""Files that hold a secret: read within a limit, and advice where everybody may read them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

#: A secret is a line or a few; a wrong path may name anything.
MAX_FILE = 64 * 1024


def read_secret(path: Path) -> str:
    """The text of a file; of a longer one than `MAX_FILE` its beginning.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no UTF-8.
    """
    with path.open("rb") as file:
        return file.read(MAX_FILE).decode()


def advice(path: Path) -> str:
    """What to do about a file that every user of this machine can read; empty where nobody but its own can."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - as in tokens
    except OSError:
        return ""
    return f"every user of this machine can read it: chmod o-r {path}" if mode & stat.S_IROTH else ""
