"""One API server with its controllers for all tests of this directory, a namespace for each test."""

import contextlib
import itertools
from pathlib import Path

import pytest
from api_support import CRDS, Api

from cluster.commands import wait_for
from cluster.testing import api_server_or_skip

HERE = Path(__file__).parent

_numbers = itertools.count()
#: The server, once a test asked for it, and what ends it. It takes a tenth of a core also when nobody asks it anything,
#: so it ends with the directory and not with the whole run.
_running = []
_end = contextlib.ExitStack()


@contextlib.contextmanager
def _started(directory):
    with api_server_or_skip(directory, controllers=True) as running:
        running.kubectl("apply", "--server-side", "-k", str(CRDS))
        served = lambda: running.kubectl("api-resources", "--api-group=peersdb.io", "-o", "name")  # noqa: E731
        wait_for(served, "our resource is served", 30)
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if not _running:
        _running.append(_end.enter_context(_started(tmp_path_factory.mktemp("api"))))
    return _running[0]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item, nextitem):
    """Where tests of another directory follow, or none, the server ends."""
    try:
        return (yield)
    finally:
        if nextitem is None or not nextitem.path.is_relative_to(HERE):
            _running.clear()
            _end.close()


@pytest.fixture
def api(server):
    """The server, and the name of a namespace of this test's own, which ends with the server."""
    return Api(server, f"t{next(_numbers)}")
