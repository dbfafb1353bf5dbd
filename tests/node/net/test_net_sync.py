"""The sync streams: order, reconnection, and what happens to a peer that breaks the rules."""

import random
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from net_helpers import PATIENCE, address, assert_usable, eventually, new_host, running
from structlog.testing import capture_logs

from peersdb.core import wire
from peersdb.core.wire import SYNC_PROTOCOL, Ack, Heads, WriterQuery
from peersdb.errors import InvalidEntry
from peersdb.net.sync import MAX_CONTROL, SyncLinks


class Side:
    """One host's links, and all that they told."""

    def __init__(self, number):
        self.host = new_host(number)
        self.links = SyncLinks(self.host, random.Random(number))
        self.opened, self.closed, self.live = [], [], []
        self.send, self.received = trio.open_memory_channel(10_000)
        self.links.on_open, self.links.on_close = self._open, self.closed.append
        self.links.on_message, self.links.next_live = self._message, self._next_live

    async def _open(self, peer):
        self.opened.append(peer)

    async def _message(self, peer, message):
        await self.send.send((peer, message))

    async def _next_live(self, _peer):
        return self.live.pop(0) if self.live else None

    async def get(self):
        with trio.fail_after(PATIENCE):
            return await self.received.receive()


@asynccontextmanager
async def sides(*numbers):
    made = [Side(number) for number in numbers]
    async with running(*(side.host for side in made)), trio.open_nursery() as nursery:
        for side in made:
            nursery.start_soon(side.links.run)
        yield made
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def linked():
    async with sides(1, 2) as (a, b):
        await a.host.dial(address(b.host))
        await eventually(lambda: a.opened and b.opened)
        yield a, b


def ack(number):
    return Ack(number, 0, bytes(32))


async def test_messages_come_in_order_both_ways_whoever_dialled():
    async with linked() as (a, b):
        for number in range(50):
            a.links.send(b.host.peer_id, ack(number))
            b.links.send(a.host.peer_id, ack(number + 100))
        assert [await b.get() for _ in range(50)] == [(a.host.peer_id, ack(n)) for n in range(50)]
        assert [await a.get() for _ in range(50)] == [(b.host.peer_id, ack(n + 100)) for n in range(50)]


async def test_control_messages_go_before_live_ones():
    async with linked() as (a, b):
        a.live += [Heads(n, bytes(32)) for n in range(3)]
        a.links.send(b.host.peer_id, ack(1))
        assert [(await b.get())[1] for _ in range(4)] == [ack(1), *(Heads(n, bytes(32)) for n in range(3))]
        a.live.append(Heads(9, bytes(32)))
        a.links.wake([b.host.peer_id])
        assert (await b.get())[1] == Heads(9, bytes(32))


@pytest.mark.parametrize("attempt", range(3))
async def test_two_who_dial_each_other_at_once_can_both_send(attempt):
    async with sides(1, 2) as (a, b):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.host.dial, address(b.host))
            nursery.start_soon(b.host.dial, address(a.host))
        await eventually(lambda: a.opened and b.opened)
        a.links.send(b.host.peer_id, ack(1))
        b.links.send(a.host.peer_id, ack(2))
        assert await b.get() == (a.host.peer_id, ack(1))
        assert await a.get() == (b.host.peer_id, ack(2))


async def test_a_stream_that_breaks_is_opened_again_and_says_so():
    async with linked() as (a, b):
        original = b.links.on_message

        async def fail_once(_peer, _message):
            b.links.on_message = original
            raise InvalidEntry("signature", "this one fails and takes its stream with it")

        b.links.on_message = fail_once
        a.links.send(b.host.peer_id, ack(1))
        with trio.fail_after(PATIENCE):
            while len(a.opened) < 2:  # what is written into the broken stream is lost: the hello comes anew
                a.links.send(b.host.peer_id, WriterQuery("00" * 32))
                await trio.sleep(0.05)
        a.links.send(b.host.peer_id, ack(2))
        while (await b.get())[1] != ack(2):
            pass
        assert b.closed == []


async def test_a_peer_that_goes_is_told_once_and_again_when_it_comes_back():
    async with linked() as (a, b):
        for _ in range(2):
            await b.host.disconnect(a.host.peer_id)
            await eventually(lambda: a.closed and b.closed)
            assert (a.closed, b.closed) == ([b.host.peer_id], [a.host.peer_id])
            assert a.links.peers == []
            a.links.send(b.host.peer_id, ack(1))  # to nobody
            for side in (a, b):
                side.opened.clear()
                side.closed.clear()
            await a.host.dial(address(b.host))
            await eventually(lambda: a.opened and b.opened)
            a.links.send(b.host.peer_id, ack(7))
            assert await b.get() == (a.host.peer_id, ack(7))


BAD = {
    "oversized": (2**20 + 1).to_bytes(4),
    "empty": bytes(4),
    "no message": wire.frame(b"GET / HTTP/1.1"),
    "cut": wire.frame(wire.encode(ack(1))[:-1]),
    "unknown type": wire.frame(b"\xa1at`"),
    "field out of limits": wire.frame(wire.encode(ack(1)).replace(b"cseq\x01", b"cseq\x20")),
}


@pytest.mark.parametrize("what", BAD)
async def test_what_is_no_message_ends_the_connection_with_its_reason(what):
    async with sides(1) as (a,), running(new_host(9)) as (hostile,):

        async def swallow(stream):
            while True:
                await stream.read_exactly(1)

        hostile.handle(SYNC_PROTOCOL, swallow)
        await hostile.dial(address(a.host))
        await eventually(lambda: a.opened)
        with capture_logs() as logs:
            stream = await hostile.open(a.host.peer_id, SYNC_PROTOCOL)
            await stream.write(BAD[what])
            await eventually(lambda: not a.host.connected)
        (said,) = [
            entry for entry in logs if entry["event"] == "a peer sent what is no message, disconnected"
        ]
        assert said["peer"] == hostile.peer_id
        assert said["error"]
        assert a.closed == [hostile.peer_id]
        await eventually(lambda: not hostile.connected)
        await hostile.dial(address(a.host))
        await assert_usable(hostile, a.host.peer_id)


async def test_a_peer_that_takes_no_messages_is_cut_off():
    async with sides(1) as (a,), running(new_host(9)) as (deaf,):

        async def never(_stream):
            await trio.sleep_forever()

        deaf.handle(SYNC_PROTOCOL, never)
        await deaf.dial(address(a.host))
        await eventually(lambda: a.opened)
        with trio.fail_after(PATIENCE):
            while not a.closed:
                for _ in range(MAX_CONTROL // 2):
                    a.links.send(deaf.peer_id, Heads(0, bytes(32)))
                await trio.lowlevel.checkpoint()
            await eventually(lambda: not a.host.connected)
        assert a.closed == [deaf.peer_id]


async def test_a_peer_without_the_protocol_stays_connected_for_the_others():
    async with sides(1) as (a,), running(new_host(9)) as (other,):
        await other.dial(address(a.host))
        await eventually(lambda: a.links.peers)
        await assert_usable(other, a.host.peer_id)
        await assert_usable(a.host, other.peer_id)
        assert a.opened == []


async def test_those_who_are_woken_are_served_in_their_order():
    async with sides(*range(1, 10)) as (a, *others):
        for other in others:
            await a.host.dial(address(other.host))
        await eventually(lambda: len(a.opened) == len(others))
        order = [other.host.peer_id for other in others]
        for turn in (order, order[::-1], order[::2]):
            served = []

            async def record(peer, turn=turn, served=served):
                if peer in turn and peer not in served:
                    served.append(peer)

            await trio.testing.wait_all_tasks_blocked()
            a.links.next_live = record
            a.links.wake(turn)
            await eventually(lambda served=served, turn=turn: len(served) == len(turn))
            assert served == turn
