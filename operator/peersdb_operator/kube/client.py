"""Requests to the API server in plain dicts; its errors become the operator's here and nowhere else.

The connection, certificates and tokens are the ``kubernetes`` library's. Its typed models are not used: they cost
memory, lose unknown fields, and server-side apply wants just the fields that we mean.
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.exceptions import ApiException
from yaml import YAMLError

from peersdb_operator.errors import Conflict, Gone, KubeError, NotFound, Refused, Unavailable
from peersdb_operator.kube.kinds import FIELD_MANAGER, Kind, Object, name_of

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
#: A JSON patch whose test fails is answered by this status, as are values that the server does not take.
UNPROCESSABLE = 422

#: Seconds for one request. An API server under load answers within some seconds; longer is an outage.
REQUEST_TIMEOUT = 15.0
#: Objects of one page of a list: some MB at most.
PAGE = 250
#: A watch is asked to end after so long (seconds); one that is silent for longer lost its other end.
WATCH_SECONDS = 240
WATCH_SILENCE = 60.0
#: An API server that asks for a longer wait than this (seconds) is asked again all the same.
MAX_RETRY_AFTER = 300.0
#: One line of a watch: etcd keeps no object above 1.5 MiB.
MAX_LINE = 4 * 1024 * 1024


class Kube:
    """One API server."""

    def __init__(
        self, api: ApiClient, on_write: Callable[[str, str], None] = lambda _kind, _verb: None
    ) -> None:
        """Asks by ``api``; each write is told as (kind, verb) to ``on_write``."""
        self._api, self._on_write = api, on_write

    async def close(self) -> None:
        """Ends all connections."""
        await self._api.close()

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Object:
        """Read one object.

        Raises:
            NotFound: there is none.
            KubeError: as each request may.
        """
        return await self._json("GET", kind.path(namespace, name))

    async def pages(
        self, kind: Kind, namespace: str | None = None, selector: str = ""
    ) -> AsyncIterator[tuple[list[Object], str]]:
        """List all objects, page by page, each with the resource version to watch from.

        Raises:
            Gone: the list became too old while it was read.
        """
        query: dict[str, Any] = {"limit": PAGE}
        if selector:
            query["labelSelector"] = selector
        while True:
            answer = await self._json("GET", kind.path(namespace), query)
            items, metadata = answer.get("items"), answer.get("metadata") or {}
            if not isinstance(items, list) or "resourceVersion" not in metadata:
                raise Unavailable(f"the list of {kind.plural} is none: is this the API server?")
            yield items, metadata["resourceVersion"]
            if not metadata.get("continue"):
                return
            query["continue"] = metadata["continue"]

    async def watch(
        self, kind: Kind, namespace: str | None, selector: str, version: str
    ) -> AsyncIterator[tuple[str, Object]]:
        """Tell changes since a resource version, as (type, object), until the server ends the watch.

        Raises:
            Gone: the version is too old: list again.
            Unavailable: the connection broke or was silent for too long.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": WATCH_SECONDS,
            "resourceVersion": version,
        }
        if selector:
            query["labelSelector"] = selector
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=WATCH_SILENCE + 30)
        response = await self._request("GET", kind.path(namespace), query, timeout=timeout)
        try:
            async for line in _lines(response.response):
                event, obj = _event(line)
                if event == "ERROR":
                    raise _error(obj.get("code", 500), obj, f"watch of {kind.plural}")
                yield event, obj
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise Unavailable(f"the watch of {kind.plural} broke off: {_said(error)}") from error
        finally:
            response.response.close()

    async def apply(self, kind: Kind, obj: Object, subresource: str = "") -> Object:
        """Apply an object by server-side apply: fields that it no longer has are removed.

        With a ``uid`` in its metadata it is never made again after somebody deleted it.

        Raises:
            Conflict: it was deleted meanwhile, or is another one.
        """
        metadata = obj["metadata"]
        self._on_write(kind.kind, "apply")
        return await self._json(
            "PATCH",
            kind.path(metadata.get("namespace"), name_of(obj), subresource),
            {"fieldManager": FIELD_MANAGER, "force": "true"},
            body=obj,
            content=APPLY,
        )

    async def create(self, kind: Kind, obj: Object) -> Object:
        """Make an object.

        Raises:
            Conflict: there is one of that name.
        """
        self._on_write(kind.kind, "create")
        return await self._json(
            "POST", kind.path(obj["metadata"].get("namespace")), {"fieldManager": FIELD_MANAGER}, body=obj
        )

    async def replace(self, kind: Kind, obj: Object) -> Object:
        """Write a whole object over the one of the same resource version.

        Raises:
            Conflict: it has another one by now.
        """
        self._on_write(kind.kind, "update")
        metadata = obj["metadata"]
        return await self._json(
            "PUT",
            kind.path(metadata.get("namespace"), name_of(obj)),
            {"fieldManager": FIELD_MANAGER},
            body=obj,
        )

    async def change(self, kind: Kind, obj: Object, parts: Mapping[str, Any]) -> Object:
        """Put other values in some places (JSON pointers) of an object of just this resource version.

        Raises:
            Conflict: it has another one by now.
        """
        metadata = obj["metadata"]
        patch: list[Object] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]}
        ]
        patch += [{"op": "add", "path": path, "value": value} for path, value in parts.items()]
        try:
            return await self._patch(kind, metadata.get("namespace"), name_of(obj), patch, JSON_PATCH)
        except Refused as error:
            if error.status == UNPROCESSABLE and "test" in str(error):
                raise Conflict(str(error), error.status) from error
            raise

    async def merge(self, kind: Kind, namespace: str | None, name: str, patch: Object) -> Object:
        """Merge some fields into an object."""
        return await self._patch(kind, namespace, name, patch, MERGE)

    async def delete(self, kind: Kind, namespace: str | None, name: str, uid: str) -> None:
        """Delete the object of that ``uid``; nothing happens where it is gone or another one."""
        self._on_write(kind.kind, "delete")
        body = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        try:
            await self._json("DELETE", kind.path(namespace, name), body=body)
        except (NotFound, Conflict):
            return

    async def _patch(
        self, kind: Kind, namespace: str | None, name: str, patch: Object | list[Object], content: str
    ) -> Object:
        self._on_write(kind.kind, "patch")
        query = {"fieldManager": FIELD_MANAGER}
        return await self._json("PATCH", kind.path(namespace, name), query, body=patch, content=content)

    async def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        *,
        body: Object | list[Object] | None = None,
        content: str = "application/json",
    ) -> Object:
        response = await self._request(method, path, query, body=body, content=content)
        try:
            document = json.loads(await response.read())
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise Unavailable(f"{method} {path}: the answer broke off: {_said(error)}") from error
        if not isinstance(document, dict):
            raise Unavailable(f"{method} {path}: the answer is no object")
        return document

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        *,
        body: Object | list[Object] | None = None,
        content: str = "application/json",
        timeout: aiohttp.ClientTimeout | float = REQUEST_TIMEOUT,  # noqa: ASYNC109 - handed to aiohttp
    ) -> Any:
        headers = {"Accept": "application/json", "Content-Type": content}
        if isinstance(timeout, float):
            timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=5)
        try:
            # The body is sanitized by the library only where it is a model; ours is JSON already.
            method, url, headers, _, _ = await self._api.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params=headers,
                auth_settings=["BearerToken"],
            )
            response = await self._api.call_api(method, url, headers, body, _request_timeout=timeout)
        except ApiException as error:  # the library raises for some statuses itself
            raise _error(error.status or 0, _document(error.body), f"{method} {path}") from error
        except (TimeoutError, aiohttp.ClientError, OSError, ssl.SSLError) as error:
            raise Unavailable(f"{method} {path}: no answer: {_said(error)}") from error
        if response.status >= 300:
            try:
                raw = await response.read()
            except (aiohttp.ClientError, OSError, TimeoutError):
                raw = b""  # the status says enough
            raise _error(
                response.status, _document(raw), f"{method} {path}", response.headers.get("Retry-After", "")
            )
        return response


def in_pod() -> bool:
    """Whether the pod's service account is meant, and not a kubeconfig."""
    return "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ


async def connect(on_write: Callable[[str, str], None] = lambda _kind, _verb: None) -> Kube:
    """Connect to the API server that KUBECONFIG, ~/.kube/config or the pod's service account names.

    Raises:
        KubeError: none of them does.
    """
    configuration = Configuration()
    try:
        if in_pod():
            config.load_incluster_config(client_configuration=configuration)
        else:
            await config.load_kube_config(client_configuration=configuration)
        # Concurrent requests of one reconcile times the workers, and a watch for each kind.
        configuration.connection_pool_maxsize = 64
        return Kube(ApiClient(configuration), on_write)
    # The library takes what a kubeconfig says on trust: AttributeError and TypeError mean one of another shape.
    except (config.ConfigException, OSError, YAMLError, ValueError, AttributeError, TypeError) as error:
        raise KubeError(f"no API server to talk to: {error}; set KUBECONFIG, or run in a pod") from error


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Split a stream into lines of any length up to `MAX_LINE`; bookmarks keep it from being silent."""
    buffer = bytearray()
    async for chunk in response.content.iter_any():
        buffer += chunk
        *lines, rest = bytes(buffer).split(b"\n")
        buffer = bytearray(rest)
        if len(buffer) > MAX_LINE:
            raise ValueError(f"an event of more than {MAX_LINE} bytes")
        for line in lines:
            if line:
                yield line


def _event(line: bytes) -> tuple[str, Object]:
    event = json.loads(line)
    try:
        kind, obj = event["type"], event["object"]
        if kind != "ERROR":
            obj["metadata"]["resourceVersion"]
    except (KeyError, TypeError) as error:
        raise ValueError("no event: is this the API server?") from error
    return str(kind), dict(obj)


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


def _document(raw: bytes | str | None) -> Object:
    try:
        document = json.loads(raw or b"")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _error(status: int, document: Object, what: str, retry_after: str = "") -> KubeError:
    """Make the error of an answer; ``document`` is its Status object, if it is one."""
    message = f"{what}: {status} {document.get('message') or document.get('reason') or ''}".rstrip()
    seconds = min(float(retry_after), MAX_RETRY_AFTER) if retry_after.isdecimal() else 0.0
    kinds: dict[int, type[KubeError]] = {404: NotFound, 409: Conflict, 410: Gone}
    if status in kinds:
        return kinds[status](message, status, seconds)
    if status in (408, 429) or status >= 500 or status == 0:
        # Server-side apply of a field that the schema lacks is answered by 500 too: backoff serves both.
        return Unavailable(message, status, seconds)
    return Refused(message, status, seconds)
