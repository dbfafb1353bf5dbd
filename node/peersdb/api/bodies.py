"""Bodies of requests and answers: limits, JSON, base64, errors."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from peersdb.errors import BadRequest, TooLarge

#: Bodies above this size (bytes) are decoded in a worker thread.
DECODE_INLINE = 256 * 1024
#: Bytes of bodies that are in memory at once, over all requests; in base64 and decoded a body takes up to four times
#: its size. Larger bodies wait for each other.
IN_MEMORY = 128 * 1024 * 1024


class Budget:
    """Bytes that requests may hold in memory together."""

    def __init__(self, size: int = IN_MEMORY) -> None:
        """All of it is free."""
        self._size = self._free = size
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def holding(self, size: int) -> AsyncIterator[None]:
        """Holds so many bytes (at most all) while the block runs; waits until they are free."""
        size = min(size, self._size)
        async with self._changed:
            await self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
        try:
            yield
        finally:
            async with self._changed:
                self._free += size
                self._changed.notify_all()


async def read_document(request: web.Request, limit: int) -> dict[str, Any]:
    """The JSON object in a request's body.

    Raises:
        TooLarge: it is larger than ``limit`` bytes.
        BadRequest: it is no JSON object.
    """
    try:
        raw = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise TooLarge(
            f"the body is larger than {limit} bytes: send the file to /peersdb/files (the client's `post` does), "
            "or start the node with a larger -max-body"
        ) from None
    body = await asyncio.to_thread(parse, raw) if len(raw) > DECODE_INLINE else parse(raw)
    if not isinstance(body, dict):
        raise BadRequest("the body is not a JSON object")
    return body


def parse(raw: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        BadRequest: it is none.
    """
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is no JSON: {error}") from None


async def decoded(text: object) -> bytes:
    """The bytes of a base64 text.

    Raises:
        BadRequest: it is none.
    """
    if not isinstance(text, str):
        raise BadRequest('post needs "file": the content in base64')
    if len(text) > DECODE_INLINE:
        return await asyncio.to_thread(_decode, text)
    return _decode(text)


def _decode(text: str) -> bytes:
    try:
        # Line breaks are what base64(1) puts in by default.
        return base64.b64decode("".join(text.split()) if "\n" in text else text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"file is not base64: {error}") from None


def file_name(value: object) -> str | None:
    """An optional name."""
    if value is not None and not isinstance(value, str):
        raise BadRequest("name is not a string")
    return value


def answer(value: Any, status: int = 200) -> web.Response:
    """Any value as JSON."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return web.Response(text=text, status=status, content_type="application/json")


def refusal(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """An error's answer."""
    response = answer({"error": message, "code": code}, status)
    response.headers.update(headers or {})
    return response
