"""Messages that are well formed and make no sense: a node takes any of them, in any order, and lives."""

import random

import pytest
import trio
from service_helpers import Chain, address, batch, eventually, number_of_entries, post, same, stranger, world

from peersdb.core.cid import CID
from peersdb.core.ranges import HIGHEST, LOWEST
from peersdb.core.wire import (
    Ack,
    BenchmarkRequest,
    BlockHeader,
    Entries,
    Graft,
    Have,
    Heads,
    Hello,
    Members,
    Prune,
    RangeItems,
    Ranges,
    Vector,
    Want,
    WantEntries,
    WriterAnswer,
    WriterQuery,
)
from peersdb.errors import PeersDBError
from peersdb.service import ownchain

INTS = (0, 1, 2, 5, 255, 2**31, 2**53, 2**53 + 1, 2**62, 2**63 - 1)
MESSAGES = 300


class Nonsense:
    """Draws messages; numbers at their limits, keys and digests that exist and that do not."""

    def __init__(self, seed, node, chain):
        self.rng, self.node, self.chain = random.Random(seed), node, chain
        self.keys = [chain.signer.key_hex, node._repo.signer.key_hex, "00" * 32, "ff" * 32]

    def int(self):
        return self.rng.choice(INTS)

    def digest(self):
        known = [CID.parse(entry.hash).digest for entry in self.chain.entries]
        return self.rng.choice([*known, bytes(32), b"\xff" * 32, self.rng.randbytes(32)])

    def key(self):
        return self.rng.choice(self.keys)

    def range(self):
        bounds = [LOWEST, HIGHEST, (self.int(), self.digest()), (self.int(), b""), (3, self.digest())]
        return (*self.rng.choice(bounds), *self.rng.choice(bounds), self.int(), self.digest())

    def some(self, make, most=20):
        return tuple(make() for _ in range(self.rng.randrange(most)))

    def hello(self):
        state = self.node.replication.state
        address_ = self.rng.choice([None, state.address, state.address, state.address])
        return Hello(1, address_, state.manifest, state.access, self.int(), self.digest(), b"")

    def message(self):
        rng = self.rng
        return rng.choice(
            [
                self.hello,
                lambda: Vector(self.some(lambda: (self.key(), self.int(), self.int()))),
                lambda: batch(
                    self.chain, rng.sample(self.chain.entries, 3), live=rng.random() < 0.5, seq=self.int()
                ),
                lambda: Entries(
                    self.some(lambda: rng.randbytes(rng.randrange(1, 50)), 2), (), live=False, seq=0
                ),
                lambda: Ack(self.int(), self.int(), self.digest()),
                lambda: Heads(self.int(), self.digest()),
                lambda: Members(()),
                lambda: Ranges(self.some(self.range)),
                lambda: RangeItems(self.range(), self.some(self.digest)),
                lambda: WantEntries(self.some(self.digest)),
                lambda: Have(self.some(self.digest)),
                lambda: Prune(self.some(self.key)),
                Graft,
                lambda: WriterQuery(self.key()),
                lambda: WriterAnswer(self.key(), self.int(), self.int()),
                *(
                    [lambda: Want(1, ()), lambda: BlockHeader(0, bytes(CID.of(b"")), -1), BenchmarkRequest]
                    if rng.random() < 0.05
                    else []
                ),
            ]
        )()


@pytest.mark.parametrize("seed", range(2))
async def test_any_messages_in_any_order_leave_the_node_alive_and_its_log_right(tmp_path, seed, monkeypatch):
    monkeypatch.setattr(
        ownchain, "CATCH_UP_TIMEOUT", 0.5
    )  # a lie about the node's own chain costs its first post that
    async with world(tmp_path) as nodes, stranger() as hostile:
        root = await nodes.start("root", root=True)
        honest = await nodes.start("honest", bootstrap=(address(root),))
        await post(root, range(10))
        chain = Chain(80, root.replication.state.address)
        for _ in range(40):
            chain.entry()
        nonsense = Nonsense(seed, root, chain)
        await hostile.meet(root)
        for _ in range(MESSAGES):
            try:
                with trio.fail_after(5):
                    await hostile.say(nonsense.message())
            except PeersDBError:  # cut off, as it should be now and then
                await eventually(lambda: root.host.peer_id not in hostile.host.connected)
                await hostile.meet(root)
        before = number_of_entries(root)
        await post(root, [1000])
        await post(honest, [2000])
        await eventually(lambda: same(root, honest) and number_of_entries(root) >= before + 2)
        assert number_of_entries(root) <= 10 + 2 + len(chain.entries)
