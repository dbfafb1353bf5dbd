"""The contributions a node knows, page by page: a list of any length at flat memory, its first rows at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from peersdb.client.errors import BadAnswer
from peersdb.client.transport import Api

#: Rows of one answer: some 0.3 MB, which a node gives in some 20 ms.
PAGE = 1000


class Selection(NamedTuple):
    """Which contributions: of one file, after a cursor, so many at most, of one verdict; None: no such bound."""

    path: str | None = None
    since: str | None = None
    limit: int | None = None
    verdict: str | None = None

    def arguments(self) -> list[str]:
        """As `query` takes it."""
        return [f"{key}={value}" for key, value in self._asdict().items() if value is not None]


def contributions(api: Api, wanted: Selection) -> Iterator[dict[str, Any]]:
    """The contributions in the order they came to the node, names and sizes with them.

    Raises:
        Failed: the node refuses, is not reached, or answers what is no page of contributions.
    """
    since, left = wanted.since or "0", wanted.limit
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        with api.command("query", *wanted._replace(since=since, limit=size).arguments()) as answer:
            rows, cursor = _page(answer.document(), since, size)
        yield from rows
        # Those of another verdict are left out of a page.
        if cursor == since or (wanted.verdict is None and len(rows) < size):
            return
        since, left = cursor, None if left is None else left - len(rows)


def _page(document: Any, since: str, size: int) -> tuple[list[dict[str, Any]], str]:
    """The rows of one answer, and the cursor after them."""
    try:
        rows, cursor = document["contributions"], document["cursor"]
        good = (
            all(isinstance(row, dict) for row in rows)
            and isinstance(cursor, str)
            and len(rows) <= size
            and (cursor != since or not rows)  # otherwise this would never end
        )
    except (TypeError, KeyError):
        good = False
    if not good:
        raise BadAnswer("the node's answer is no page of contributions: are both of the same version?")
    return rows, cursor
