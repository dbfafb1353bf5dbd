"""What a cluster's status says, and that the CRD takes it whatever there is to say."""

import copy
import dataclasses

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kube_support import KNOWN, UID, at_rest, clusters, node, nodes_for, parsed, pod, pod_facts
from operator_cluster import closed

from peersdb_operator import builders, definition, members, names, status
from peersdb_operator.kube import conditions, desired
from peersdb_operator.kube.conditions import MAX_MESSAGE, Trouble

SCHEMA = closed(definition.CLUSTER.schema()["properties"]["status"])
CLUSTER = parsed({"eu": 2, "us": 1})
EU, US = CLUSTER.regions


def made(cluster, observed, *troubles, facts=KNOWN, previous=None, now=0.0):
    plan = desired.plan(cluster, UID, observed, facts)
    return conditions.make(
        cluster, observed, plan, facts, troubles, generation=3, previous=previous or {}, now=now
    )


def rest(cluster=CLUSTER, **changes):
    return dataclasses.replace(at_rest(cluster), **changes)


def with_pod(observed, group, index, cluster=CLUSTER, **standing):
    """The same with one pod that stands otherwise, or is missing."""
    name = names.pod(cluster, group, index)
    others = {other: it for other, it in observed.pods.items() if other != name}
    if standing.pop("there", True):
        others[name] = pod(cluster, group, index, **standing)
    return dataclasses.replace(observed, pods=others)


def told(made_, kind):
    found = status.condition(made_, kind)
    return found["status"], found["reason"], found["message"]


# What the CRD takes.

STANDINGS = st.fixed_dictionaries(
    {},
    optional={
        "there": st.booleans(),
        "ready": st.booleans(),
        "revision": st.sampled_from(["old", "new"]),
        "waiting": st.sampled_from(["", "ImagePullBackOff", "ContainerCreating", "x" * 3000]),
        "unschedulable": st.sampled_from(["", "0/3 nodes", "n" * 40000]),
        "terminated": st.sampled_from(["", "OOMKilled"]),
        "restarts": st.integers(0, 3),
        "deleting": st.booleans(),
        "node_name": st.sampled_from(["", "n1", "n-eu", "elsewhere"]),
        "phase": st.sampled_from(["", "Pending", "Running"]),
    },
)
NODES = st.none() | st.lists(
    st.builds(
        lambda ready, off, region: node(ready=ready, unschedulable=off, topology_kubernetes_io_region=region),
        st.booleans(),
        st.booleans(),
        st.sampled_from(["eu", "us"]),
    ),
    max_size=3,
).map(tuple)
FACTS = st.builds(
    pod_facts,
    lag=st.integers(0, 9),
    version=st.sampled_from(["", "1", "2", "3", "4", "5"]),
    replication=st.none() | st.floats(0, 9),
)
TROUBLES = st.lists(st.builds(Trouble, st.sampled_from(["A", "B"]), st.text("ab", max_size=9)), max_size=5)


@settings(max_examples=60)
@given(clusters(), clusters(), st.data())
def test_any_status_fits_the_crd_and_is_said_once(old, new, data):
    observed = at_rest(old)
    for member in members.of_cluster(old):
        observed = with_pod(observed, member.group, member.index, old, **data.draw(STANDINGS))
    facts = {name: data.draw(FACTS) for name in observed.pods if data.draw(st.booleans())}
    observed = dataclasses.replace(observed, nodes=data.draw(NODES), facts=facts)
    known, troubles = data.draw(st.sampled_from([KNOWN, builders.NOTHING_KNOWN])), data.draw(TROUBLES)
    first = made(new, observed, *troubles, facts=known)
    jsonschema.validate(first, SCHEMA)
    assert all(len(condition["message"]) <= MAX_MESSAGE for condition in first["conditions"])
    kinds = [condition["type"] for condition in first["conditions"]]
    assert kinds == [
        "Ready", "Progressing", "RootAvailable", "Paused", "RegionsSchedulable", "ReplicationHealthy",
        "ScaleDownBlocked", "Degraded",
    ]  # fmt: skip
    # The same again says the same: a cluster at rest is not written.
    again = made(new, observed, *troubles, facts=known, previous=first, now=99.0)
    assert again == first
    assert list(conditions.changed(first, again)) == []
    assert (told(first, "Ready")[0] == "True") == (first["readyReplicas"] == first["replicas"] > 0)


def test_a_long_list_is_cut_and_counted():
    cluster = parsed({"eu": 100})
    message = told(made(cluster, rest(cluster, pods={})), "Ready")[2]
    assert message.count("its pod is being made") == 3
    assert message.endswith("and 98 more")
    troubles = [Trouble("ApplyRefused", f"trouble {number}") for number in range(9)]
    assert told(made(CLUSTER, rest(), *troubles), "Degraded") == (
        "True", "ApplyRefused", "trouble 0; trouble 1; trouble 2; and 6 more",
    )  # fmt: skip
    long = made(CLUSTER, rest(), Trouble("ApplyRefused", "x" * 5000))
    assert told(long, "Degraded")[2] == "x" * (MAX_MESSAGE - 1) + "…"


# Members.


def test_all_is_well():
    seen = made(CLUSTER, rest())
    assert [told(seen, kind)[:2] for kind in ("Ready", "Progressing", "RootAvailable", "Paused")] == [
        ("True", "AllReady"), ("False", "Settled"), ("True", "RootReady"), ("False", "NotPaused"),
    ]  # fmt: skip
    assert (seen["phase"], seen["replicas"], seen["readyReplicas"], seen["version"]) == ("Ready", 4, 4, "1")
    assert seen["regions"] == [
        {"name": "eu", "replicas": 2, "readyReplicas": 2, "updatedReplicas": 2, "headsLag": 0},
        {"name": "us", "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1, "headsLag": 0},
    ]
    assert seen["storeAddress"] == KNOWN.store_address
    assert seen["rootAddresses"] == [f"demo-root-0.demo-root:{CLUSTER.http_port}"]


WAITS = {"ready": False}


@pytest.mark.parametrize(
    ("standing", "moving", "reason"),
    [
        ({"there": False}, True, "its pod is being made"),
        ({"deleting": True}, True, "is being stopped"),
        ({**WAITS, "phase": "Pending"}, True, "is starting"),
        (WAITS, True, "is not in sync yet"),
        ({**WAITS, "unschedulable": "0/3 nodes"}, False, "cannot be scheduled: 0/3 nodes"),
        ({**WAITS, "waiting": "ImagePullBackOff"}, False, "ImagePullBackOff: because"),
        ({**WAITS, "waiting": "CrashLoopBackOff", "terminated": "OOMKilled", "restarts": 3}, False,
         "CrashLoopBackOff: because; it ended by OOMKilled"),
        ({**WAITS, "restarts": 2, "terminated": "Error"}, True, "restarted 2 times, last ended by Error"),
        ({**WAITS, "restarts": 2}, True, "restarted 2 times, last ended by an error"),
        ({**WAITS, "node_name": "gone"}, False, "its Kubernetes node gone does not answer"),
        ({"deleting": True, "node_name": "gone"}, False, "its Kubernetes node gone does not answer"),
    ],
)  # fmt: skip
def test_a_member_that_is_not_ready_says_why(standing, moving, reason):
    gone = node("gone", ready=False, **{CLUSTER.region_label_key.replace("/", "_"): "eu"})
    observed = rest(nodes=(*nodes_for(CLUSTER), gone))
    seen = made(CLUSTER, with_pod(observed, US, 0, **standing))
    assert told(seen, "Ready") == ("False", "MembersNotReady", f"us-0: {reason}")
    assert told(seen, "Progressing")[:2] == (("True", "Changing") if moving else ("False", "Stalled"))
    assert seen["phase"] == ("Progressing" if moving else "Degraded")
    assert seen["regions"][1]["readyReplicas"] == 0


def test_a_ready_member_of_the_old_spec_is_ready_and_on_its_way():
    seen = made(CLUSTER, with_pod(rest(), EU, 1, revision="old"))
    assert told(seen, "Ready")[:2] == ("True", "AllReady")
    assert told(seen, "Progressing")[:2] == ("True", "Changing")
    assert seen["regions"][0]["updatedReplicas"] == 1


def test_a_template_that_the_controller_has_not_seen_makes_all_pods_old():
    observed = rest()
    live = copy.deepcopy(observed.objects["StatefulSet", "demo-eu"])
    live["metadata"]["generation"] = 2
    observed = dataclasses.replace(observed, objects={**observed.objects, ("StatefulSet", "demo-eu"): live})
    assert made(CLUSTER, observed)["regions"][0]["updatedReplicas"] == 0


def test_roots_that_are_held_back_are_counted_as_missing_and_say_for_whom_they_wait():
    cluster = parsed({"eu": 1}, roots=3)
    observed = dataclasses.replace(at_rest(cluster, builders.NOTHING_KNOWN), facts={})
    for index in (1, 2):
        observed = with_pod(observed, cluster.root, index, cluster, there=False)
    seen = made(cluster, observed, facts=builders.NOTHING_KNOWN)
    assert (seen["replicas"], seen["readyReplicas"]) == (4, 2)
    assert "root-1: waits for root-0 to make the contributions store" in told(seen, "Ready")[2]
    assert len(seen["rootAddresses"]) == 3


def test_without_a_ready_root_newcomers_have_nobody_to_join():
    seen = made(CLUSTER, with_pod(rest(), CLUSTER.root, 0, ready=False))
    assert told(seen, "RootAvailable") == ("False", "NoRootReady", "root-0: is not in sync yet")


# Regions, replication, what is not done.


def region_node(name, region, **more):
    return node(name, **{CLUSTER.region_label_key.replace("/", "_"): region}, **more)


@pytest.mark.parametrize(
    ("nodes", "wanted"),
    [
        (None, ("Unknown", "NodesNotVisible")),
        ((), ("False", "RegionWithoutNodes")),
        ((region_node("a", "eu"),), ("False", "RegionWithoutNodes")),
        ((region_node("a", "eu"), region_node("b", "us", ready=False)), ("False", "NodesNotReady")),
        ((region_node("a", "eu"), region_node("b", "us", unschedulable=True)), ("False", "NodesNotReady")),
        ((region_node("a", "eu"), region_node("b", "us")), ("True", "AllRegionsHaveNodes")),
    ],
)
def test_a_region_without_a_node_is_named(nodes, wanted):
    seen = made(CLUSTER, rest(nodes=nodes))
    assert told(seen, "RegionsSchedulable")[:2] == wanted
    if wanted[0] == "False" and nodes:
        assert "us" in told(seen, "RegionsSchedulable")[2]
        assert "eu" not in told(seen, "RegionsSchedulable")[2].replace("region=", "")


def test_a_nodes_selector_counts_too():
    cluster = parsed({"eu": 1}, root={"region": "eu", "replicas": 1, "nodeSelector": {"disk": "fast"}})
    assert told(made(cluster, rest(cluster)), "RegionsSchedulable")[1] == "RegionWithoutNodes"
    fast = region_node("a", "eu", disk="fast")
    assert told(made(cluster, rest(cluster, nodes=(fast,))), "RegionsSchedulable")[0] == "True"


def test_an_empty_region_needs_no_node():
    cluster = parsed({"eu": 1, "us": 0})
    assert (
        told(made(cluster, rest(cluster, nodes=(region_node("a", "eu"),))), "RegionsSchedulable")[0] == "True"
    )


def test_a_member_of_a_region_without_nodes_does_not_count_as_on_its_way():
    observed = with_pod(rest(nodes=(region_node("a", "eu"),)), US, 0, there=False)
    seen = made(CLUSTER, observed)
    assert told(seen, "Ready")[2] == "us-0: region us has no Kubernetes node that fits"
    assert told(seen, "Progressing")[:2] == ("False", "Stalled")


def facts_of(observed, **changes):
    told_ = {name: pod_facts() for name in observed.pods} | {
        name.replace("_", "-"): fact for name, fact in changes.items()
    }
    return dataclasses.replace(
        observed, facts={name: fact for name, fact in told_.items() if fact is not None}
    )


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        ({}, ("True", "InSync", "4 of 4 ready members have all entries")),
        ({"demo_us_0": pod_facts(lag=5)}, ("False", "MembersBehind", "us-0 lacks 5 entries")),
        ({"demo_us_0": None}, ("Unknown", "MembersNotAsked", "3 of 4 ready members told how much they have")),
        (
            {"demo_us_0": None, "demo_eu_1": pod_facts(lag=1)},
            ("False", "MembersBehind", "eu-1 lacks 1 entries"),
        ),
    ],
)
def test_replication_is_what_members_say(facts, wanted):
    assert told(made(CLUSTER, facts_of(rest(), **facts)), "ReplicationHealthy") == wanted


def test_the_lag_of_a_region_is_that_of_its_furthest_member_and_absent_where_nobody_told():
    observed = facts_of(rest(), demo_eu_0=pod_facts(lag=2), demo_eu_1=pod_facts(lag=7), demo_us_0=None)
    eu, us = made(CLUSTER, observed)["regions"]
    assert eu["headsLag"] == 7
    assert "headsLag" not in us


def test_several_versions_are_all_named_but_not_without_end():
    versions = {f"demo_eu_{index}": pod_facts(version=str(index)) for index in range(6)}
    assert made(CLUSTER, facts_of(rest(), **versions))["version"] == "0, 1, 2, and 3 more"


def test_what_is_not_taken_away_is_said_with_the_way_out():
    seen = made(parsed({"eu": 1}), rest())
    state, reason, message = told(seen, "ScaleDownBlocked")
    assert (state, reason) == ("True", "MembersWouldBeLost")
    assert "eu from 2 to 1; region us with 1 members" in message
    assert "set spec.scaleDown.policy: Force" in message
    assert told(made(CLUSTER, rest()), "ScaleDownBlocked")[:2] == ("False", "NothingToRemove")
    assert seen["regions"][0]["replicas"] == 2  # they are still members


def test_a_paused_cluster_has_the_members_that_it_had():
    seen = made(parsed({"eu": 5, "us": 1}, paused=True), rest())
    assert told(seen, "Paused")[:2] == ("True", "SpecPaused")
    assert (seen["replicas"], told(seen, "Ready")[0], told(seen, "Progressing")[0]) == (4, "True", "False")
    assert seen["phase"] == "Paused"
    never = made(parsed(paused=True), dataclasses.replace(rest(), objects={}, pods={}))
    assert told(never, "Ready")[:2] == ("False", "NothingRuns")


def test_the_builder_of_a_cluster_is_kept():
    assert made(CLUSTER, rest())["builder"] == builders.VERSION
    assert made(CLUSTER, rest(), previous={"builder": 0})["builder"] == 0


def test_a_condition_is_news_when_its_status_or_its_reason_changes():
    before = {"conditions": [{"type": "Ready", "status": "False", "reason": "A", "message": "m"}]}
    for change, news in [({}, 0), ({"message": "other"}, 0), ({"reason": "B"}, 1), ({"status": "True"}, 1)]:
        after = {"conditions": [{**before["conditions"][0], **change}]}
        assert len(list(conditions.changed(before, after))) == news
    assert len(list(conditions.changed({}, before))) == 1
