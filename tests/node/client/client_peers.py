"""Real sockets that answer as no good node does, and the client as a process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: For an end that never comes, seconds.
PATIENCE = 60.0


@contextmanager
def answering(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """The URL of a listener whose first connection is served by ``serve`` and then closed."""
    failures: list[BaseException] = []

    def run(listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(PATIENCE)
                serve(connection)
        except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
            failures.append(error)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        thread = threading.Thread(target=run, args=(listener,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            thread.join(PATIENCE)
    assert not failures, failures


def read_head(connection: socket.socket) -> bytes:
    """What comes up to the empty line, and not a byte more."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        assert byte, head
        head += byte
    return head


def read_request(connection: socket.socket) -> tuple[bytes, bytes]:
    """Head and body of a request with a Content-Length, or without a body."""
    head = read_head(connection)
    length = next(
        (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
    )
    body = b""
    while len(body) < length:
        more = connection.recv(length - len(body))
        assert more, body
        body += more
    return head, body


def response(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    """An answer as a node sends it."""
    size = len(body) if length is None else length
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n".encode()
        + body
    )


def run_client(*arguments: str, stdin: bytes = b"", **env: str) -> subprocess.CompletedProcess[bytes]:
    """Runs the client to its end."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PEERSDB_")}
    return subprocess.run(
        [sys.executable, "-m", "peersdb", *arguments],
        input=stdin,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
        env={**kept, **env},
    )
