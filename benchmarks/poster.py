"""The client of the post measures, a process of its own: of the node's cores it takes as little as a client can.

``python -m benchmarks.poster PORT COUNT CLIENTS`` posts so many files of 1 KiB over so many connections, which stay
open, one at a time on each; it prints the seconds that took and its own processor time, as JSON.
"""

from __future__ import annotations

import base64
import json
import os
import selectors
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import cast

SIZE = 1024
SUCCESS, ANSWER = b"HTTP/1.1 200 ", b'"File uploaded"'
#: An answer has about 200 bytes.
MOST = 4096


@dataclass(frozen=True)
class Posted:
    """What so many posts took.

    Attributes:
        seconds: from the first request to the last answer.
        cpu: processor time of the client in it, seconds.
    """

    seconds: float
    cpu: float


def requests(port: int, count: int) -> Iterator[bytes]:
    """Requests with a file of its own each: all of it but the first 9 bytes is the same, which costs no time here."""
    same = base64.b64encode(os.urandom(SIZE - 9))
    body = b'{"method":{"argcnt":0,"cmd":"post"},"args":[],"file":"%b%b"}'
    size = len(body % (base64.b64encode(bytes(9)), same))
    head = f"POST /peersdb/command HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {size}\r\n\r\n"
    start = int.from_bytes(os.urandom(8))
    for number in range(count):
        own = base64.b64encode((start + number).to_bytes(9))
        yield head.encode() + body % (own, same)


def one(connection: socket.socket, todo: Iterator[bytes]) -> None:
    """Sends each request once the one before is answered."""
    for request in todo:
        connection.sendall(request)
        answer = b""
        while not whole(answer):
            answer += some(connection)


def many(connections: list[socket.socket], todo: Iterator[bytes]) -> None:
    """Sends requests over all connections, one at a time on each."""
    waiting = 0
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            if (request := next(todo, None)) is not None:
                selector.register(connection, selectors.EVENT_READ, bytearray())
                connection.sendall(request)
                waiting += 1
        while waiting:
            for key, _ in selector.select():
                connection = cast("socket.socket", key.fileobj)
                key.data.extend(some(connection))
                if not whole(key.data):
                    continue
                key.data.clear()
                if (request := next(todo, None)) is None:
                    selector.unregister(connection)
                    waiting -= 1
                else:
                    connection.sendall(request)


def some(connection: socket.socket) -> bytes:
    """What came of an answer."""
    data = connection.recv(MOST)
    if not data:
        raise SystemExit("the node closed the connection")
    return data


def whole(answer: bytes | bytearray) -> bool:
    """Whether an answer is all there; ends the program where it is no success."""
    if answer.endswith(ANSWER):
        return True
    if not answer[: len(SUCCESS)] == SUCCESS[: len(answer)] or len(answer) >= MOST:
        raise SystemExit(f"a post failed: {bytes(answer)!r}")
    return False


def main() -> None:
    """Posts as the arguments say."""
    port, count, clients = map(int, sys.argv[1:])
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(clients)]
    for connection in connections:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    cpu, begin = time.process_time(), time.perf_counter()
    if clients == 1:
        one(connections[0], requests(port, count))
    else:
        many(connections, requests(port, count))
    print(json.dumps(asdict(Posted(time.perf_counter() - begin, time.process_time() - cpu))))


if __name__ == "__main__":
    main()
