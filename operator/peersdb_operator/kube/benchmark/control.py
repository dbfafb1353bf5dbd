"""The words with a load test's master: its control API, by its pod's address.

Whatever it answers is judged: a pod of a namespace is not trusted more than its namespace.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import aiohttp

from peersdb_operator.errors import ControlError
from peersdb_operator.load import Progress

#: Seconds for a question: the master answers from memory.
TIMEOUT = 1.5
#: Seconds for a file: it comes from its disk, a few MiB at most.
FILE_TIMEOUT = 30.0
#: Progress and the listing have a few KiB.
MAX_ANSWER = 256 * 1024
#: What is told goes into the status.
MAX_TEXT, MAX_PROBLEMS, MAX_NUMBER = 256, 8, 2**53
#: A report has about ten files.
MAX_FILES = 200


class Control:
    """One master's control API."""

    def __init__(self, session: aiohttp.ClientSession, address: str, token: str, port: int) -> None:
        """Asks the pod of that address."""
        self._session = session
        host = f"[{address}]" if ":" in address else address
        self._root, self._token = f"http://{host}:{port}/v1", token

    async def progress(self) -> Progress:
        """Ask how the run stands.

        Raises:
            ControlError: as each question may: no answer, or none that can be understood.
        """
        return read_progress(await self._document("/progress"))

    async def tell(self, event: Mapping[str, Any]) -> None:
        """Tell of something that the operator did."""
        await self._ask("POST", "/events", MAX_ANSWER, body=event)

    async def listing(self) -> dict[str, int]:
        """List the results: their sizes in bytes by name."""
        files = (await self._document("/results/")).get("files")
        if not isinstance(files, dict):
            raise ControlError("the master's listing of results has no files")
        sizes = {str(name): _count(size) for name, size in list(files.items())[:MAX_FILES]}
        return {name: size for name, size in sizes.items() if name.isprintable() and len(name) <= MAX_TEXT}

    async def file(self, name: str, limit: int) -> bytes:
        """Read a result of at most ``limit`` bytes."""
        return await self._ask("GET", f"/results/{quote(name)}", limit, timeout=FILE_TIMEOUT)

    async def collected(self) -> None:
        """Tell it that its results are kept, so that it may end."""
        await self._ask("POST", "/collected", MAX_ANSWER)

    async def _document(self, path: str) -> dict[str, Any]:
        body = await self._ask("GET", path, MAX_ANSWER)
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise ControlError(f"{path}: the master's answer is no JSON") from error
        if not isinstance(document, dict):
            raise ControlError(f"{path}: the master's answer is no object")
        return document

    async def _ask(
        self,
        method: str,
        path: str,
        limit: int,
        *,
        body: Mapping[str, Any] | None = None,
        timeout: float = TIMEOUT,  # noqa: ASYNC109 - handed to aiohttp
    ) -> bytes:
        headers = {"Authorization": f"Bearer {self._token}"}
        try:
            # A master redirects nowhere; whoever does so gets no token for another place.
            async with self._session.request(
                method,
                f"{self._root}{path}",
                headers=headers,
                json=body,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout),
            ) as response:
                content = await _read(response, limit)
                if not 200 <= response.status < 300:
                    raise ControlError(f"{path}: the master answered {response.status}", response.status)
                return content
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise ControlError(f"{path}: no answer of the master: {error or type(error).__name__}") from error


def read_progress(document: Mapping[str, Any]) -> Progress:
    """Make progress of what the master says; what is not understood is as if it were not said."""
    wants = document.get("wants")
    wants = wants if isinstance(wants, dict) else {}
    state, passed = document.get("state"), document.get("passed")
    problems = document.get("problems")
    replication = document.get("replication")
    return Progress(
        state=state if state in ("waiting", "running", "settling", "done") else "waiting",
        passed=passed if isinstance(passed, bool) else None,
        stage=_text(document.get("stage")),
        done=min(1.0, _number(document.get("done")) or 0.0),
        users=_count(document.get("users")),
        workers=_count(document.get("workers")),
        expected=_count(document.get("expectedWorkers")),
        requests=_count(document.get("requests")),
        failures=_count(document.get("failures")),
        wave=_count(wants.get("wave")),
        fault=wants.get("fault") is True,
        problems=tuple(filter(None, map(_text, problems[:MAX_PROBLEMS])))
        if isinstance(problems, list)
        else (),
        p99=_number(replication.get("p99")) if isinstance(replication, dict) else None,
    )


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit:
            raise ValueError(f"more than {limit} bytes")
    return bytes(body)


def _number(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MAX_NUMBER:
        return float(value)
    return None


def _count(value: object) -> int:
    return int(_number(value) or 0)


def _text(value: object) -> str:
    text = value if isinstance(value, str) else ""
    return "".join(letter if letter.isprintable() else " " for letter in text[:MAX_TEXT])
