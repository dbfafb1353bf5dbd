"""HTTP of one request to a node, over the standard library; its errors become the client's here and nowhere else."""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from peersdb.client.arguments import Endpoint
from peersdb.client.errors import BadAnswer, BrokenOff, FileProblem, Refused, Unreachable

#: Seconds until a connection stands. A node on the other side of the world answers in 0.3 s.
CONNECT_TIMEOUT = 5.0
#: Seconds without a byte of an answer that asks nobody but the node. A busy node takes some seconds.
ANSWER_TIMEOUT = 60.0
#: A peer's machine that went away silently is noticed after so many seconds, where no other limit holds.
DEAD_AFTER = 60
#: An upload that gets nothing through for so long (seconds) is given up. A node with a slow disk stops reading for
#: a while, and the kernel does not tell that from a node that is gone.
STALLED_AFTER = 300
#: Read and sent at once, in bytes: large enough that calls cost nothing, small enough to be nothing.
PIECE = 1024 * 1024
#: Answers that are no list of contributions are held in memory; none of a node's comes near this, in bytes.
MAX_DOCUMENT = 64 * 1024 * 1024


class Readable(Protocol):
    """A file whose bytes are read into a buffer of ours."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fills some of ``buffer``; 0 at the end."""
        ...


class Answer:
    """A good answer, its body still to be read."""

    def __init__(self, url: str, response: http.client.HTTPResponse) -> None:
        self._url, self._response = url, response

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives.

        Raises:
            BrokenOff: it ended before its end, or nothing came for too long.
        """
        declared = self._response.length  # None: chunked, whose end http.client checks
        received = 0
        while True:
            with _answering(self._url):
                chunk = self._response.read1(PIECE)
            if not chunk:
                break
            received += len(chunk)
            yield chunk
        if declared is not None and received < declared:
            raise BrokenOff(f"{self._url} broke off its answer: ask again")

    def document(self) -> Any:
        """The whole body as JSON.

        Raises:
            BrokenOff: it ended before its end.
            BadAnswer: it is no JSON, or larger than any of a node's.
        """
        parts, size = [], 0
        for chunk in self.chunks():
            parts.append(chunk)
            size += len(chunk)
            if size > MAX_DOCUMENT:
                raise BadAnswer(f"{self._url} answered with more than {MAX_DOCUMENT} bytes: is it a node?")
        try:
            return json.loads(b"".join(parts))
        except (ValueError, RecursionError):
            raise _no_node(self._url, self._response.status) from None


class Api:
    """One node's HTTP interface. Each request has a connection of its own: a command makes one or two."""

    def __init__(self, endpoint: Endpoint, token: str | None, version: str) -> None:
        """Asks the node at ``endpoint``, presenting ``token``; ``version`` is told as the User-Agent."""
        self._endpoint = endpoint
        self._headers = {"User-Agent": f"peersdb/{version}", "Connection": "close"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"

    @contextlib.contextmanager
    def get(self, path: str) -> Iterator[Answer]:
        """Asks for ``path``.

        Raises:
            Refused: the node answers with an error.
            Unreachable: nobody answers there.
            BrokenOff: the connection ended, or nothing came for `ANSWER_TIMEOUT`.
            BadAnswer: what answers is no node.
        """
        with self._connected(ANSWER_TIMEOUT) as connection:
            with _answering(self._endpoint.url):
                connection.request("GET", self._endpoint.prefix + path, headers=self._headers)
                answer = self._answer(connection)
            yield answer

    @contextlib.contextmanager
    def command(
        self, name: str, *args: str, patient: bool = False, options: Mapping[str, Any] | None = None
    ) -> Iterator[Answer]:
        """Sends a command of ``POST /peersdb/command``; raises as `get` does.

        Args:
            name: its ``cmd``.
            args: its arguments.
            patient: wait as long as the node lives, for a command in which it asks others.
            options: keys of the body beside those that each command has.
        """
        document = {"method": {"argcnt": len(args), "cmd": name}, "args": list(args), **(options or {})}
        body = json.dumps(document).encode()
        headers = {**self._headers, "Content-Type": "application/json"}
        timeout = None if patient else ANSWER_TIMEOUT
        with self._connected(timeout) as connection:
            with _answering(self._endpoint.url):
                connection.request("POST", f"{self._endpoint.prefix}/peersdb/command", body, headers)
                answer = self._answer(connection)
            yield answer

    def upload(self, path: str, source: Readable, size: int | None, sent: Callable[[int], None]) -> Any:
        """Posts ``source`` to ``path`` at flat memory, without a limit of time; raises as `get` does.

        Args:
            path: path and query.
            source: what to send.
            size: bytes of it; None where they are not known, and it is read to its end.
            sent: told the bytes of each piece that was sent.

        Raises:
            FileProblem: the source cannot be read, or became shorter.
        """
        url = self._endpoint.url
        with self._connected(None) as connection, _answering(url):
            connection.putrequest("POST", self._endpoint.prefix + path, skip_accept_encoding=True)
            for header, value in self._headers.items():
                connection.putheader(header, value)
            connection.putheader("Content-Type", "application/octet-stream")
            if size is None:
                connection.putheader("Transfer-Encoding", "chunked")
            else:
                connection.putheader("Content-Length", str(size))
            connection.endheaders()
            whole = _send(connection, source, size, sent)
            answer = self._answer(connection)
            if not whole:
                raise BadAnswer(f"{url} answered before it had the file: is it a node?")
            return answer.document()

    @contextlib.contextmanager
    def _connected(self, timeout: float | None) -> Iterator[http.client.HTTPConnection]:
        """A connection; ``timeout`` holds for each read and write once it stands."""
        where = self._endpoint
        kind = http.client.HTTPSConnection if where.secure else http.client.HTTPConnection
        connection = kind(where.host, where.port, timeout=CONNECT_TIMEOUT)
        try:
            try:
                connection.connect()
            except (OSError, UnicodeError) as error:
                raise Unreachable(
                    f"no node answers at {where.url}: {_reason(error)}; start one with `peersdb -http -root`, or say "
                    "where yours is by --api URL or the variable PEERSDB_API"
                ) from None
            connection.sock.settimeout(timeout)
            _notice_death(connection.sock)
            yield connection
        finally:
            connection.close()

    def _answer(self, connection: http.client.HTTPConnection) -> Answer:
        url = self._endpoint.url
        response = connection.getresponse()
        answer = Answer(url, response)
        if response.status == 200:
            return answer
        document = answer.document()
        error, code = (
            (document.get("error"), document.get("code")) if isinstance(document, dict) else (None, None)
        )
        if not isinstance(error, str) or not isinstance(code, str):
            raise _no_node(url, response.status)
        raise Refused(error, code)


def _send(
    connection: http.client.HTTPConnection,
    source: Readable,
    size: int | None,
    sent: Callable[[int], None],
) -> bool:
    """Sends the body; False if the node answered or hung up before all was sent."""
    buffer = memoryview(bytearray(PIECE))
    left = size
    try:
        while left is None or left > 0:
            count = _read(source, buffer if left is None else buffer[: min(left, PIECE)])
            if count == 0:
                break
            # A node that refuses does so without reading all: sending on would lose its answer.
            if select.select([connection.sock], [], [], 0)[0]:
                return False
            if left is None:
                connection.send(b"%x\r\n" % count)
                connection.send(buffer[:count])
                connection.send(b"\r\n")
            else:
                connection.send(buffer[:count])
                left -= count
            sent(count)
        if left is None:
            connection.send(b"0\r\n\r\n")
    except (BrokenPipeError, ConnectionResetError):
        return False  # why, its answer says, which may have come before
    if left:
        raise FileProblem(f"the file became {left} bytes shorter while it was sent: post it again")
    return True


def _read(source: Readable, buffer: memoryview) -> int:
    try:
        count = source.readinto(buffer)
    except OSError as error:
        raise FileProblem(f"cannot read on: {error.strerror}; nothing was shared") from None
    if count is None:
        raise FileProblem("the standard input does not wait for its data (O_NONBLOCK): pipe it through cat")
    return count


def _notice_death(connection: socket.socket) -> None:
    """Lets the kernel end a connection whose other end vanished, where no timeout of ours does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {
        "TCP_KEEPIDLE": DEAD_AFTER // 2,
        "TCP_KEEPINTVL": 10,
        "TCP_KEEPCNT": 3,
        "TCP_USER_TIMEOUT": STALLED_AFTER * 1000,
    }
    for name, value in options.items():
        if hasattr(socket, name):  # other systems than Linux lack some of them
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


@contextlib.contextmanager
def _answering(url: str) -> Iterator[None]:
    """Maps what goes wrong once the connection stands."""
    try:
        yield
    except TimeoutError:
        # Ours, or the kernel's of `_notice_death`.
        raise BrokenOff(
            f"{url} did not answer in time: look at it with `peersdb status`, and ask again"
        ) from None
    except (OSError, http.client.IncompleteRead, http.client.RemoteDisconnected) as error:
        raise BrokenOff(
            f"{url} broke off the connection ({_reason(error)}): whether it did what was asked is not known"
        ) from None
    except http.client.HTTPException:
        raise BadAnswer(
            f"{url} does not speak HTTP as a node does: is it the address of its HTTP interface?"
        ) from None


def _no_node(url: str, status: int) -> BadAnswer:
    return BadAnswer(f"{url} answered {status} with what is no answer of a node: is it the address of one?")


def _reason(error: Exception) -> str:
    if isinstance(error, http.client.IncompleteRead):
        return "the answer is not whole"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
