"""What two logs have in common and what one lacks, in a few numbers."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from peersdb.core.cid import hash_bytes
from peersdb.errors import InvalidData

SIZE = 32  # bytes of a fingerprint
_MODULUS = 2 ** (8 * SIZE)

VersionVector = dict[tuple[str, int], int]
"""(writer's key in hex, epoch) → the seq up to which nothing of that chain is missing."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The number of a set's hashes and the sum of their sha2-256, modulo 2**256.

    It grows by one addition with each entry, in any order. A sum, not XOR: with XOR, sets of one fingerprint
    are found by solving linear equations.

    Attributes:
        count: how many hashes.
        total: their sum.
    """

    count: int
    total: int

    def add(self, entry_hash: str) -> Self:
        """Add one hash (``zdpu…``), which must not be in the set yet.

        Raises:
            InvalidCID: it is no hash of an entry.
        """
        digest = hashlib.sha256(hash_bytes(entry_hash)).digest()
        return type(self)(self.count + 1, (self.total + int.from_bytes(digest)) % _MODULUS)

    def merge(self, other: "Fingerprint") -> Self:
        """Fingerprint the union of two sets without common hashes."""
        return type(self)(self.count + other.count, (self.total + other.total) % _MODULUS)

    @property
    def hex(self) -> str:
        """The sum as 64 hex digits."""
        return self.to_bytes().hex()

    def to_bytes(self) -> bytes:
        """Write the sum as 32 bytes, big-endian."""
        return self.total.to_bytes(SIZE)

    @classmethod
    def from_bytes(cls, count: int, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            InvalidData: there are not 32 bytes, or the count is negative.
        """
        if len(data) != SIZE or count < 0:
            raise InvalidData(f"a fingerprint is a count and {SIZE} bytes, not {count} and {len(data)}")
        return cls(count, int.from_bytes(data))


EMPTY = Fingerprint(0, 0)


def gaps(theirs: VersionVector, mine: VersionVector) -> list[tuple[str, int, int, int]]:
    """List what I have and they lack, as (key, epoch, first seq, last seq), sorted."""
    return [
        (key, epoch, theirs.get((key, epoch), 0) + 1, seq)
        for (key, epoch), seq in sorted(mine.items())
        if seq > theirs.get((key, epoch), 0)
    ]


def advance(contiguous: int, present: Iterable[int]) -> int:
    """Go on from a seq up to which nothing is missing, as far as the seqs that are present reach."""
    later = {seq for seq in present if seq > contiguous}
    while contiguous + 1 in later:
        contiguous += 1
    return contiguous
