"""Entries of small clusters, and stores to put them into."""

import os
import tempfile
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

from peersdb.core.ballots import VERDICTS, Vote, create_ballot, log_hash
from peersdb.core.cid import CID, Block, ipfs_path
from peersdb.core.contribution import Contribution, format_timestamp
from peersdb.core.entry import add_payload
from peersdb.core.identity import Signer
from peersdb.core.log import Log
from peersdb.core.manifest import contributions_manifest
from peersdb.store.log import LogStore
from peersdb.store.repo import Repo
from peersdb.store.tables import Validation

SIGNERS = [Signer.from_seed(bytes([i]) * 32) for i in range(1, 4)]
MANIFEST = contributions_manifest("tests")
EMPTY_LOG = Log(MANIFEST.address)


def contribution(signer, number, seq, previous):
    path = ipfs_path(CID.of(str(number).encode()))
    return Contribution(
        path, signer.peer_id, format_timestamp(number), f"file-{number}", number, seq, previous
    )


def payload(signer, number):
    """Makes the contribution of an append, given its place in the chain."""

    def make(epoch, seq, previous):
        return replace(contribution(signer, number, seq, previous), epoch=epoch)

    return make


class Cluster:
    """Three writers in memory, each with its own view of the log and its own chain."""

    def __init__(self):
        self.logs = [EMPTY_LOG] * 3
        self.chains = [(0, None)] * 3
        self.number = 0

    def append(self, writer):
        self.number += 1
        seq, previous = self.chains[writer]
        signer, old = SIGNERS[writer], self.logs[writer]
        new = old.append(signer, add_payload(contribution(signer, self.number, seq + 1, previous)))
        (added,) = new.entries.keys() - old.entries.keys()
        self.logs[writer], self.chains[writer] = new, (seq + 1, added)
        return new.entries[added]

    def join(self, writer, other):
        self.logs[writer] = self.logs[writer].join(self.logs[other])

    @property
    def whole(self):
        return self.logs[0].join(self.logs[1]).join(self.logs[2])


def cluster_of(steps):
    """``(a, a)``: a writes; ``(a, b)``: a joins what b has."""
    cluster = Cluster()
    for writer, other in steps:
        if writer == other:
            cluster.append(writer)
        else:
            cluster.join(writer, other)
    return cluster


class Voter:
    """Signs ballots one after another, on the files of `contribution`."""

    def __init__(self, signer, epoch=1):
        self.signer, self.epoch, self.seq, self.prev = signer, epoch, 0, b""

    def says(self, *votes):
        """Signs these: each the number of a file and the place of a verdict."""
        self.seq += 1
        made = create_ballot(
            self.signer,
            log_hash(MANIFEST.address),
            epoch=self.epoch,
            seq=self.seq,
            prev=self.prev,
            ts=self.seq,
            votes=[
                Vote(CID.of(str(number).encode()), "csv/1", bytes(32), VERDICTS[verdict])
                for number, verdict in votes
            ],
        )
        self.prev = made.hash
        return made


def seeded(number):
    return lambda size: bytes([number]) * size


@contextmanager
def opened(path: Path, seed=1):
    repo = Repo(path, seeded(seed))
    try:
        yield repo
    finally:
        repo.close()


@asynccontextmanager
async def fresh_log():
    """A repo with an empty log, in a directory of its own (for examples that share one test)."""
    with tempfile.TemporaryDirectory() as directory, opened(Path(directory) / "repo") as repo:
        store = LogStore(repo.database)
        await store.create(MANIFEST)
        yield store


async def append(store, signer=SIGNERS[0], number=1):
    entry, fingerprint = await store.append(signer, payload(signer, number), nothing)
    return entry, fingerprint


def nothing(_conn, _entries):
    """No further work in the transaction."""


def validation(path, number):
    """A record of this node's, decided by itself or by votes."""
    verdict = VERDICTS[number % len(VERDICTS)]
    return Validation(
        path, verdict == "valid", number % 7, "csv/1", number, verdict, bytes([number % 256]) * 32, "why"
    )


def block(size, salt=0):
    data = salt.to_bytes(8) + os.urandom(size - 8)
    return Block(CID.of(data), data)
