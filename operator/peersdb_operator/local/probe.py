"""What a node says of itself by HTTP: its readiness and its status."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

TIMEOUT_SECONDS = 2.0
"""A node that takes longer for an answer of a few bytes from the same machine is not ready."""

MAX_ANSWER = 4 << 20
"""Bytes; a status of 3,203 peers takes a tenth of that."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node said.

    Attributes:
        ready: whether its readiness holds.
        reason: why not.
        pid: the process that answered, if it said so.
        store: the address of its store, if it has one.
        entries: how many entries its log has, if it said so.
    """

    ready: bool
    reason: str
    pid: int | None = None
    store: str | None = None
    entries: int | None = None


async def ask(host: str, port: int) -> Answer:
    """Ask a node; one that does not answer is not ready."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            code, ready = await _get(host, port, "/readyz")
            _, status = await _get(host, port, "/peersdb/status")
    except TimeoutError:
        return Answer(ready=False, reason=f"does not answer within {TIMEOUT_SECONDS:g} s")
    except ConnectionError:
        return Answer(ready=False, reason="does not listen yet")
    except (OSError, EOFError, ValueError) as error:
        return Answer(ready=False, reason=f"answers what cannot be read: {error}")
    process = status.get("process")
    pid = process.get("pid") if isinstance(process, dict) else None
    entries = status.get("entries")
    return Answer(
        ready=code == 200,
        reason="" if code == 200 else str(ready.get("reason") or f"answers {code}"),
        pid=pid if isinstance(pid, int) else None,
        store=str(status["storeAddress"]) if status.get("storeAddress") else None,
        entries=entries if isinstance(entries, int) else None,
    )


async def _get(host: str, port: int, path: str) -> tuple[int, dict[str, Any]]:
    """Get a JSON object by HTTP/1.0, which ends an answer by closing: no chunks, nothing kept open.

    Raises:
        OSError: no connection.
        ValueError: the answer is no HTTP or no JSON object.
    """
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        data = b""
        while len(data) <= MAX_ANSWER and (chunk := await reader.read(65536)):
            data += chunk
    finally:
        writer.close()
    head, separator, body = data.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    if not separator or len(words) < 2 or not words[0].startswith(b"HTTP/") or len(data) > MAX_ANSWER:
        raise ValueError(f"no HTTP at {host}:{port}")
    value = json.loads(body or b"{}")
    if not isinstance(value, dict):
        raise ValueError(f"no JSON object at {path}")  # noqa: TRY004 - of the answer, not of an argument
    return int(words[1]), value
