"""`/peersdb/benchmark/1`: a peer's own benchmark, asked over libp2p, so that any HTTP port or policy works."""

from __future__ import annotations

from collections.abc import Callable

import trio

from peersdb.core import wire
from peersdb.core.wire import BENCHMARK_PROTOCOL, BenchmarkAnswer, BenchmarkRequest
from peersdb.errors import InvalidMessage, PeerUnreachable
from peersdb.net.host import Host
from peersdb.net.stream import Stream

#: One round trip and some JSON; a peer that takes longer is left out of the list.
TIMEOUT = 5.0


def serve_benchmark(host: Host, answer: Callable[[], bytes]) -> None:
    """Answers peers with this node's benchmark as JSON (empty: not enabled)."""

    async def serve(stream: Stream) -> None:
        if not isinstance(wire.decode(await stream.read_frame()), BenchmarkRequest):
            raise InvalidMessage("a benchmark stream starts with a BenchmarkRequest")
        await stream.write_frame(wire.encode(BenchmarkAnswer(answer())))

    host.handle(BENCHMARK_PROTOCOL, serve)


async def ask_benchmark(host: Host, peer: str) -> bytes:
    """A peer's benchmark as JSON; empty when it records none.

    Raises:
        PeerUnreachable: it did not answer in time.
    """
    try:
        with trio.fail_after(TIMEOUT):
            stream = await host.open(peer, BENCHMARK_PROTOCOL)
            try:
                await stream.write_frame(wire.encode(BenchmarkRequest()))
                reply = wire.decode(await stream.read_frame())
            finally:
                await stream.reset()
    except trio.TooSlowError:
        raise PeerUnreachable(f"peer {peer} did not answer within {TIMEOUT:.0f} s") from None
    if not isinstance(reply, BenchmarkAnswer):
        raise InvalidMessage(f"peer {peer} answered {type(reply).__name__} for its benchmark")
    return reply.json
