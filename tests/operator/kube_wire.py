"""An API server that answers as it is told, byte by byte: for what a real one does not do on demand."""

import asyncio
import contextlib
import json
import urllib.parse

from kubernetes.aio.client import ApiClient, Configuration

from peersdb_operator.kube.client import Kube


def answer(status, body=b"", *, reason="Told", **headers):
    """One whole answer; dicts become JSON, header names have ``-`` for ``_``."""
    data = json.dumps(body).encode() if isinstance(body, dict | list | int) else body
    lines = [f"HTTP/1.1 {status} {reason}", "Content-Type: application/json", f"Content-Length: {len(data)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + data


def stream(*pieces, ends=True):
    """A chunked answer, a chunk for each piece; without ``ends`` it breaks off."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece]
    return b"".join([head, *chunks, b"0\r\n\r\n" if ends else b""])


def event(kind, obj):
    return json.dumps({"type": kind, "object": obj}).encode() + b"\n"


@contextlib.asynccontextmanager
async def api_server(handler):
    """A client of a server; ``handler(method, path, query, body)`` gives bytes, or a list of bytes and of seconds to
    wait between.
    """

    async def serve(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, target, _ = head[0].split(" ")
            headers = {line.split(":")[0].lower(): line.split(":", 1)[1].strip() for line in head[1:] if line}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            path, _, query = target.partition("?")
            told = handler(method, path, dict(urllib.parse.parse_qsl(query)), body)
            for piece in told if isinstance(told, list) else [told]:
                if isinstance(piece, bytes):
                    writer.write(piece)
                    await writer.drain()
                else:
                    await asyncio.sleep(piece)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    kube = Kube(ApiClient(Configuration(host=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")))
    try:
        yield kube
    finally:
        await kube.close()
        server.close()
