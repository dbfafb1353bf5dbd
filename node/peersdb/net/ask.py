"""One question, one answer, on a stream of its own: `/peersdb/benchmark/1` and `/peersdb/validation/1`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from peersdb.core import wire
from peersdb.core.wire import Message
from peersdb.errors import InvalidMessage, PeerUnreachable
from peersdb.net.host import Host
from peersdb.net.stream import Stream

#: One round trip and an answer from memory or an index; a peer that takes longer (seconds) is not waited for.
TIMEOUT = 5.0


def serve_answers(
    host: Host, protocol: str, question: type[Message], answer: Callable[[Message], Awaitable[Message]]
) -> None:
    """Answers peers' questions of one type."""

    async def serve(stream: Stream) -> None:
        with trio.move_on_after(TIMEOUT):
            asked = wire.decode(await stream.read_frame())
            if not isinstance(asked, question):
                raise InvalidMessage(f"a {protocol} stream starts with a {question.__name__}")
            await stream.write_frame(wire.encode(await answer(asked)))

    host.handle(protocol, serve)


async def ask(host: Host, peer: str, protocol: str, question: Message, within: float = TIMEOUT) -> Message:
    """A peer's answer.

    Raises:
        PeerUnreachable: it did not answer in time, or does not speak the protocol.
    """
    try:
        with trio.fail_after(within):
            stream = await host.propose(peer, protocol)
            try:
                await stream.write_frame(wire.encode(question))
                return wire.decode(await stream.read_frame())
            finally:
                await stream.reset()
    except trio.TooSlowError:
        raise PeerUnreachable(f"peer {peer} did not answer within {within:.0f} s") from None
