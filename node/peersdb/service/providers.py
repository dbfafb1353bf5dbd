"""Whom a file is fetched from.

Of a new file only the contributor has the blocks, and it is connected to few of many nodes. The others find it where
they heard of it first: that peer is nearer to the contributor, and fetches the file itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence

from peersdb.core.cid import CID, ipfs_path
from peersdb.core.entry import Entry
from peersdb.net.host import Host
from peersdb.service.members import Membership

#: Peers asked for one file at most.
MAX_PROVIDERS = 16
#: Files whose entries came lately, and from whom: those of a busy minute.
MAX_HEARD = 4096


class Providers:
    """Who may have which file."""

    def __init__(self, host: Host, membership: Membership, *, takes_all: bool) -> None:
        """Nothing was heard yet.

        Args:
            host: connections.
            membership: dials the contributor.
            takes_all: this node fetches each file that it hears of.
        """
        self._host, self._membership, self._takes_all = host, membership, takes_all
        self._heard: OrderedDict[str, tuple[str, str]] = OrderedDict()
        """By path: who was the first to tell of it, and its contributor."""

    def heard(self, entries: Sequence[Entry], peer: str) -> None:
        """A peer was the first to push these entries."""
        for entry in entries:
            self._heard[entry.contribution.path] = peer, entry.contribution.contributor
        while len(self._heard) > MAX_HEARD:
            self._heard.popitem(last=False)

    def expects(self, root: CID) -> bool:
        """Whether this node fetches a file, if it is not here, or is about to."""
        return self._takes_all and ipfs_path(root) in self._heard

    async def of(self, root: CID, contributor: str | None) -> AsyncGenerator[str, None]:
        """Whom to ask, one after the other; ``contributor`` is found out where it is not given.

        The contributor where connected, who told of the file, the other peers from the nearest on, then the contributor
        by a dial.
        """
        connected = sorted(self._host.connected, key=self._host.round_trip)
        told, by = self._heard.get(ipfs_path(root), (None, None))
        contributor = contributor or by
        first = [peer for peer in (contributor, told) if peer in connected]
        for peer in list(dict.fromkeys(first + connected))[:MAX_PROVIDERS]:
            if peer is not None:
                yield peer
        stranger = contributor and contributor not in connected and contributor != self._host.peer_id
        if contributor and stranger and await self._membership.connect(contributor):
            yield contributor
