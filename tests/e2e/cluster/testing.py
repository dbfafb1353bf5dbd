"""What tests outside this directory use: the API server alone, or a skip that says why not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.api_server import ApiServer
from cluster.errors import NotBuilt


@contextlib.contextmanager
def api_server_or_skip(directory: Path, *, controllers: bool = False) -> Iterator[ApiServer]:
    """Run an API server while the block runs; where its programs were never built, skip the tests instead.

    Args:
        directory: where it keeps all.
        controllers: whether the controller manager and the scheduler run too.
    """
    try:
        server = ApiServer(directory, controllers=controllers)
    except NotBuilt as error:
        pytest.skip(str(error))
    with server:
        yield server
