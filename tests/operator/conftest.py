"""Fixtures of the operator's tests; what they are made of is in ``operator_cluster.py``."""

import pytest
from operator_cluster import SHARED_PORTS, Local, end, manifest


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One cluster of three members for tests that change nothing, or only what heals."""
    cluster = Local(tmp_path_factory.mktemp("shared"))
    cluster.printed = cluster.up(manifest(network=SHARED_PORTS)).stdout
    yield cluster
    end(cluster)


@pytest.fixture
def local(tmp_path):
    cluster = Local(tmp_path)
    yield cluster
    end(cluster)
