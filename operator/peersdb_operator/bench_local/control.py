"""The control API of a load test's master on this machine: questions with a token, answers with limits."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from peersdb_operator.errors import BenchmarkError, ControlError
from peersdb_operator.load import Progress

HOST = "127.0.0.1"
TIMEOUT_SECONDS = 10.0
"""A master that draws its report answers late, one that has ended refuses at once."""
MAX_ANSWER = 1 << 20
"""Bytes of an answer in JSON: a listing of `MAX_FILES` takes some tens of KiB."""
MAX_FILES = 200
"""A report of ten plots in two formats has about 40 files."""
MAX_FILE = 4 << 30
"""Bytes of one result: a day of samples at 100 a second is 1 GiB."""
_CHUNK = 1 << 20


class Control:
    """One master's control API on a port of this machine."""

    def __init__(self, port: int, token: str) -> None:
        """Ask with a token."""
        self._port, self._token = port, token

    def progress(self) -> Progress:
        """Ask how the run stands.

        Raises:
            ControlError: as each question may: no answer, or one that cannot be understood.
        """
        try:
            return Progress.from_json(self._json("/progress"))
        except ValueError as error:
            raise ControlError(f"the load test answers what cannot be read: {error}") from error

    def tell(self, event: Mapping[str, Any]) -> None:
        """Tell of something that was done to the cluster."""
        with self._ask("POST", "/events", json.dumps(event).encode()):
            return

    def listing(self) -> dict[str, int]:
        """List the results: their sizes in bytes by name; only names that mean a file of one directory."""
        files = self._json("/results/").get("files")
        if not isinstance(files, dict):
            raise ControlError("the load test lists no results")
        sound = {name: int(size) for name, size in files.items() if Path(name).name == name and name != ".."}
        return dict(list(sound.items())[:MAX_FILES])

    def fetch(self, name: str, target: Path) -> None:
        """Write one result to a file; it is there whole or not at all.

        Raises:
            BenchmarkError: the file cannot be written.
        """
        part = target.with_name(f"{target.name}.part")
        try:
            with self._ask("GET", f"/results/{quote(name)}") as answer, part.open("wb") as file:
                _copy(answer, file, name)
            part.replace(target)
        except OSError as error:
            raise BenchmarkError(f"{target} cannot be written: {error.strerror}") from error
        finally:
            part.unlink(missing_ok=True)

    def collected(self) -> None:
        """Say that the results are fetched: the master ends."""
        with self._ask("POST", "/collected"):
            return

    def _json(self, path: str) -> dict[str, Any]:
        with self._ask("GET", path) as answer:
            data = _read(answer, MAX_ANSWER + 1)
        try:
            value = json.loads(data[:MAX_ANSWER])
        except ValueError as error:
            raise ControlError(f"{path}: the load test answers no JSON") from error
        if not isinstance(value, dict):
            raise ControlError(f"{path}: the load test answers no object")
        return value

    @contextmanager
    def _ask(self, method: str, path: str, body: bytes | None = None) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=TIMEOUT_SECONDS)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        try:
            try:
                connection.request(method, f"/v1{path}", body=body, headers=headers)
                answer = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                raise ControlError(f"{path}: the load test does not answer: {_said(error)}") from error
            if not 200 <= answer.status < 300:
                raise ControlError(f"{path}: the load test answers {answer.status}", answer.status)
            yield answer
        finally:
            connection.close()


def _copy(answer: http.client.HTTPResponse, file: BinaryIO, name: str) -> None:
    whole, copied = answer.length, 0
    while chunk := _read(answer, _CHUNK):
        copied += len(chunk)
        if copied > MAX_FILE:
            raise ControlError(f"the result {name} is larger than {MAX_FILE} bytes")
        file.write(chunk)
    if whole is not None and copied != whole:
        raise ControlError(f"the result {name} broke off after {copied} of {whole} bytes")


def _read(answer: http.client.HTTPResponse, most: int) -> bytes:
    try:
        return answer.read(most)
    except (OSError, http.client.HTTPException) as error:
        raise ControlError(f"the load test's answer broke off: {_said(error)}") from error


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
