"""A second cluster runs beside the first, and when it is gone this machine is as it was."""

import os
import shutil
import signal
from dataclasses import replace

import pytest

from cluster import teardown
from cluster.errors import NoCluster
from cluster.harness import Harness
from cluster.machine import running
from cluster.settings import Addresses, Settings
from cluster.traces import traces


@pytest.fixture
def settings(harness):
    """Of a cluster that is nobody's: another name, other addresses, its own state."""
    if harness is None:
        pytest.skip(
            "only the harness's own cluster is made and removed here: PEERSDB_E2E=1 without KUBECONFIG"
        )
    block = (harness.settings.addresses.block + 64) % 256
    own = replace(
        harness.settings,
        instance="trace",
        addresses=Addresses(block),
        state=harness.settings.state.with_name("trace"),
    )
    teardown.down(own)
    yield own
    teardown.down(own)


def left(settings: Settings, before: dict[str, set[str]]) -> dict[str, set[str]]:
    """What is there now and was not, or was and is not."""
    after = traces(settings)
    return {kind: lines ^ before[kind] for kind, lines in after.items() if lines != before[kind]}


def test_nothing_is_left_of_a_cluster(settings):
    before = traces(settings)
    second = Harness.up(settings, project=False)
    seen = left(settings, before)
    assert {"links", "addresses", "routes", "cgroups", "processes", "state"} <= set(seen), "traces are seen"
    assert not {"packet filter", "kernel values", "mounts", "routing rules", "directories"} & set(seen), seen
    assert all(map(second.node_ready, second.regions))
    second.partition.cut(*second.regions[:2])
    second.latency.set({second.regions[1:3]: 5})
    second.node(second.regions[2]).power_off()
    assert teardown.down(settings)
    assert left(settings, before) == {}
    with pytest.raises(NoCluster):
        Harness.attach(settings.state)
    assert not teardown.down(settings)


def test_nothing_is_left_of_a_cluster_that_broke_and_forgot_its_files(settings):
    before = traces(settings)
    Harness.up(settings, project=False)
    shutil.rmtree(settings.state, ignore_errors=True)
    some = running(settings.state)[0]
    os.kill(some.pid, signal.SIGKILL)
    assert teardown.down(settings)
    assert left(settings, before) == {}
