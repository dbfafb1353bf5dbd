"""Validation, first cut: a node judges the files that it posts and keeps its own records.

The seam for more: a `Validator` judges one file by its content; its record carries the validator's name, and
a record with no votes was decided by this node itself, as in the original.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Protocol

from peersdb.core.cid import CID, ipfs_path
from peersdb.errors import PeersDBError
from peersdb.service.environment import Environment
from peersdb.store.tables import Validation

#: Gives the content piece by piece; each block of it was checked against its CID.
Read = Callable[[], AsyncGenerator[bytes, None]]


class Validator(Protocol):
    """Judges files.

    Attributes:
        name: with its version, as kept in the records.
    """

    name: str

    async def judge(self, size: int, read: Read) -> bool:
        """Whether a file is valid, given the size that was claimed for it."""
        ...


class Integrity:
    """Valid is what is whole: every block of it can be read and the content has the size that was claimed."""

    name = "integrity/1"

    async def judge(self, size: int, read: Read) -> bool:
        """Reads all of the file."""
        found = 0
        try:
            async with aclosing(read()) as chunks:
                async for chunk in chunks:
                    found += len(chunk)
        except PeersDBError:  # a part is missing or damaged: that is the verdict
            return False
        return found == size


class ValidationService:
    """This node's own judgements."""

    def __init__(self, validator: Validator, environment: Environment) -> None:
        """Uses one validator for all files."""
        self._validator, self._environment = validator, environment

    async def judge(self, root: CID, size: int, read: Read) -> Validation:
        """This node's own record of a file: decided by itself, so with no votes."""
        valid = await self._validator.judge(size, read)
        return Validation(ipfs_path(root), valid, 0, self._validator.name, self._environment.now_ns())
