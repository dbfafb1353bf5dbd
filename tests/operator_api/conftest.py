"""One API server with its controllers for all tests of this directory, a namespace for each test."""

import itertools

import pytest
from api_support import CRDS, Api

from cluster.commands import wait_for
from cluster.testing import api_server_or_skip

_numbers = itertools.count()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with api_server_or_skip(tmp_path_factory.mktemp("api"), controllers=True) as running:
        running.kubectl("apply", "--server-side", "-k", str(CRDS))
        served = lambda: running.kubectl("api-resources", "--api-group=peersdb.io", "-o", "name")  # noqa: E731
        wait_for(served, "our resource is served", 30)
        yield running


@pytest.fixture
def api(server):
    """The server, and the name of a namespace of this test's own, which ends with the server."""
    return Api(server, f"t{next(_numbers)}")
