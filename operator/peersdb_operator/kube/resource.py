"""A resource of a person's: read while it lives, its status written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peersdb_operator.errors import NotFound
from peersdb_operator.kube.cache import Key
from peersdb_operator.kube.client import Kube
from peersdb_operator.kube.kinds import Kind, Object


async def living(kube: Kube, kind: Kind, key: Key) -> Object | None:
    """Read a resource; None where it is gone or on its way out, and all it is made of with it, by owner references.

    Raises:
        KubeError: the API server was in the way.
    """
    try:
        resource = await kube.get(kind, *key)
    except NotFound:
        return None
    return None if "deletionTimestamp" in resource["metadata"] else resource


async def write_status(kube: Kube, kind: Kind, resource: Object, status: Mapping[str, Any]) -> None:
    """Write the status of this very resource: one of the same name that came after it is refused.

    Raises:
        KubeError: it is another one by now, or the API server was in the way.
    """
    metadata = resource["metadata"]
    await kube.apply(
        kind,
        {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": {field: metadata[field] for field in ("name", "namespace", "uid")},
            "status": dict(status),
        },
        "status",
    )
