"""Tasks whose failure is their caller's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from peersdb.errors import PeersDBError


@asynccontextmanager
async def raising_the_first() -> AsyncIterator[trio.Nursery]:
    """A nursery whose first expected error is raised as it is, not in a group.

    The tasks work on one thing: when one of them fails, what the others say of it (a closed channel) is no news.
    An unexpected error stays a group, with all there is to know.
    """
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        unexpected = group.split((PeersDBError, trio.BrokenResourceError, trio.ClosedResourceError))[1]
        expected = group.subgroup(PeersDBError)
        if unexpected is not None or expected is None:
            raise
        raise first_of(expected) from None


def first_of(error: BaseException) -> BaseException:
    """The first error that a group holds, however deep; an error that is no group as it is."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
