"""What Prometheus finds: the names that dashboards and alerts are made of, and no cluster that is gone."""

import pytest
from kube_support import KNOWN, UID, at_rest, parsed, pod_facts

from peersdb_operator.kube import conditions, desired
from peersdb_operator.kube.metrics import Metrics

KEY = ("data", "demo")
ABOUT = {"namespace": "data", "cluster": "demo"}
NAMES = {
    "peersdb_operator_reconciles_total": {"result"},
    "peersdb_operator_reconcile_seconds_bucket": {"le"},
    "peersdb_operator_reconcile_seconds_count": set(),
    "peersdb_operator_reconcile_seconds_sum": set(),
    "peersdb_operator_api_writes_total": {"kind", "verb"},
    "peersdb_operator_pod_poll_seconds_bucket": {"le"},
    "peersdb_operator_pod_poll_seconds_count": set(),
    "peersdb_operator_pod_poll_seconds_sum": set(),
    "peersdb_operator_leader": set(),
    "peersdb_operator_queue_length": set(),
    "peersdb_cluster_ready": {"namespace", "cluster"},
    "peersdb_cluster_members": {"namespace", "cluster", "region", "state"},
    "peersdb_cluster_heads_lag_entries": {"namespace", "cluster", "region"},
    "peersdb_cluster_replication_lag_seconds": {"namespace", "cluster", "region"},
}
"""Each name with its labels. Dashboards, alerts and people's own queries hold to them: a name is never changed."""


@pytest.fixture
def metrics():
    """The metrics after one cluster was observed and some work was done."""
    made = Metrics(lambda: 3)
    made.reconciles.labels("ok").inc()
    made.writes.labels("Service", "apply").inc()
    observe(made, parsed({"eu": 2, "us": 1}))
    return made


def observe(metrics, cluster, told=()):
    observed = at_rest(cluster)
    plan = desired.plan(cluster, UID, observed, KNOWN)
    status = conditions.make(cluster, observed, plan, KNOWN, (), generation=1, previous={}, now=0.0)
    metrics.cluster(
        KEY, status, {"eu": [pod_facts(replication=0.2), pod_facts(replication=0.4), *told], "us": []}
    )


def samples(metrics):
    return [sample for family in metrics.registry.collect() for sample in family.samples]


def regions(metrics):
    return {sample.labels["region"] for sample in samples(metrics) if "region" in sample.labels}


def test_the_names_and_labels_are_these(metrics):
    found = {}
    for sample in samples(metrics):
        if not sample.name.endswith("_created"):
            found.setdefault(sample.name, set()).update(sample.labels)
    assert found == NAMES


def test_every_metric_says_what_it_is(metrics):
    assert all(family.documentation.endswith(".") for family in metrics.registry.collect())


def test_the_values_are_those_of_the_status_and_of_the_pods(metrics):
    value = metrics.registry.get_sample_value
    assert value("peersdb_cluster_ready", ABOUT) == 1
    for region, count in (("eu", 2), ("us", 1)):
        for state in ("wanted", "ready"):
            assert value("peersdb_cluster_members", {**ABOUT, "region": region, "state": state}) == count
        assert value("peersdb_cluster_heads_lag_entries", {**ABOUT, "region": region}) == 0
    assert value("peersdb_cluster_replication_lag_seconds", {**ABOUT, "region": "eu"}) == pytest.approx(0.3)
    assert value("peersdb_cluster_replication_lag_seconds", {**ABOUT, "region": "us"}) is None
    assert value("peersdb_operator_queue_length") == 3


def test_the_series_of_a_region_go_with_it(metrics):
    assert regions(metrics) == {"eu", "us"}
    observe(metrics, parsed({"eu": 2}))
    assert regions(metrics) == {"eu"}


@pytest.mark.parametrize(
    "forget", [lambda metrics: metrics.forget(KEY), lambda metrics: metrics.forget_all()]
)
def test_the_series_of_a_cluster_go_with_it(metrics, forget):
    forget(metrics)
    assert not [sample for sample in samples(metrics) if "cluster" in sample.labels]
    metrics.forget(KEY)  # twice is no fault
