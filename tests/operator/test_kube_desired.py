"""What has to be done: laws over any cluster, any change of its manifest and any hand in between."""

import copy
import dataclasses

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from kube_support import KNOWN, UID, clusters, objects_of, parsed

from peersdb_operator import builders, names
from peersdb_operator.kube import desired, drift
from peersdb_operator.kube.cache import reduced
from peersdb_operator.kube.kinds import BY_NAME, STATEFUL_SET
from peersdb_operator.kube.observed import Observed

# Each is a cluster or two, planned several times; many of any two are no change.
few = settings(max_examples=40, suppress_health_check=[HealthCheck.filter_too_much])
UNKNOWN = builders.NOTHING_KNOWN
EMPTY = Observed({}, {}, None)


def planned(cluster, observed, facts=KNOWN):
    return desired.plan(cluster, UID, observed, facts)


def replicas_of(plan):
    """Replicas by StatefulSet, as applied."""
    return {
        obj["metadata"]["name"]: obj["spec"]["replicas"]
        for obj in plan.apply
        if obj["kind"] == STATEFUL_SET.kind
    }


def wanted_replicas(cluster):
    return {names.group_object(cluster, group): group.replicas for group in cluster.groups}


def carried_out(plan, observed):
    """What is there once a plan was carried out and Kubernetes' controllers did their part."""
    objects = {**observed.objects, **objects_of(plan)}
    for kind, name, patch in plan.patch:
        live = copy.deepcopy(objects[kind.kind, name])
        live["metadata"]["annotations"] |= patch["metadata"]["annotations"]
        live["spec"] |= patch["spec"]
        objects[kind.kind, name] = live
    for kind, obj in plan.delete:
        del objects[kind.kind, obj["metadata"]["name"]]
    sizes = {
        name: obj["spec"]["replicas"] for (kind, name), obj in objects.items() if kind == STATEFUL_SET.kind
    }
    pods = {f"{name}-{index}": {"metadata": {}} for name, size in sizes.items() for index in range(size)}
    return dataclasses.replace(observed, objects=objects, pods=pods)


def settled(cluster, observed, facts=KNOWN):
    """Carry out one plan after the other until there is nothing to do."""
    for _ in range(6):
        plan = planned(cluster, observed, facts)
        after = carried_out(plan, observed)
        if after == observed:
            return observed
        observed = after
    raise AssertionError("it never comes to rest")


def with_replicas(observed, name, replicas, annotation="kept"):
    """What a hand makes of a StatefulSet."""
    live = copy.deepcopy(observed.objects[STATEFUL_SET.kind, name])
    live["spec"]["replicas"] = replicas
    if annotation == "removed":
        del live["metadata"]["annotations"][names.REPLICAS_ANNOTATION]
    elif annotation != "kept":
        live["metadata"]["annotations"][names.REPLICAS_ANNOTATION] = annotation
    return dataclasses.replace(observed, objects={**observed.objects, (STATEFUL_SET.kind, name): live})


# Rest.


@few
@given(clusters())
def test_a_cluster_at_rest_needs_nothing(cluster):
    observed = settled(cluster, EMPTY)
    plan = planned(cluster, observed)
    assert (plan.patch, plan.delete, plan.taken, plan.blocked) == ((), (), (), ())
    for obj in plan.apply:
        kind = BY_NAME[obj["kind"]]
        assert not drift.differs(reduced(kind, observed.objects[obj["kind"], obj["metadata"]["name"]]), obj)


@few
@given(clusters(scaleDown={"policy": "Force"}), clusters(scaleDown={"policy": "Force"}), st.booleans())
def test_with_force_any_change_ends_where_a_new_cluster_does(old, new, known):
    assume(not any(group.paused for group in (*old.groups, *new.groups)))
    facts = KNOWN if known else UNKNOWN
    ended = settled(new, settled(old, EMPTY, facts), KNOWN)
    assert ended.objects == settled(new, EMPTY, KNOWN).objects


# Members are not taken away.


@few
@given(clusters(), clusters(), st.data())
def test_without_force_no_member_that_was_decided_on_is_ever_taken_away(old, new, data):
    assume(not new.force_scale_down)
    observed = settled(old, EMPTY)
    for name in wanted_replicas(old):
        if (STATEFUL_SET.kind, name) in observed.objects and data.draw(st.booleans()):
            observed = with_replicas(observed, name, data.draw(st.integers(0, 9)))
    before = {
        name: desired.applied_replicas(obj)
        for (kind, name), obj in observed.objects.items()
        if kind == STATEFUL_SET.kind
    }
    plan = planned(new, observed)
    after = replicas_of(plan)
    paused = {names.group_object(new, group) for group in new.regions if group.paused}
    deleted = {obj["metadata"]["name"] for kind, obj in plan.delete if kind is STATEFUL_SET}
    assert not [patch for patch in plan.patch if before[patch[1]]]
    for name, replicas in before.items():
        if name in paused:
            assert name not in after
        elif name in wanted_replicas(new):
            assert after[name] == max(replicas, wanted_replicas(new)[name])
        else:
            size = observed.objects[STATEFUL_SET.kind, name]["spec"][
                "replicas"
            ]  # a hand may have made it another
            assert (name in deleted) == (replicas == size == 0 and not observed.pods_of(name))
    lost = [
        name for name in before if name not in paused and before[name] > wanted_replicas(new).get(name, 0)
    ]
    assert len(plan.blocked) == len(lost)


def test_what_is_not_taken_away_is_said():
    observed = settled(parsed({"eu": 3, "us": 2}), EMPTY)
    assert planned(parsed({"eu": 1}), observed).blocked == ("eu from 3 to 1", "region us with 2 members")


def test_with_force_a_removed_region_is_emptied_and_then_deleted_with_all_that_was_its_own():
    force = {"scaleDown": {"policy": "Force"}}
    full = settled(parsed({"eu": 1, "us": 2}, **force), EMPTY)
    first = planned(parsed({"eu": 1}, **force), full)
    assert [(kind.kind, name) for kind, name, _ in first.patch] == [("StatefulSet", "demo-us")]
    assert first.delete == ()
    empty = carried_out(first, full)
    still = dataclasses.replace(empty, pods={"demo-us-1": {"metadata": {}}})
    assert planned(parsed({"eu": 1}, **force), still).delete == ()  # a pod is still being stopped
    last = planned(parsed({"eu": 1}, **force), empty)
    assert sorted((kind.kind, obj["metadata"]["name"]) for kind, obj in last.delete) == [
        ("PodDisruptionBudget", "demo-us"),
        ("Service", "demo-us"),
        ("StatefulSet", "demo-us"),
    ]
    assert last.patch == ()


@pytest.mark.parametrize("when_scaled", ["Retain", "Delete"])
def test_the_volumes_of_a_removed_region_are_dealt_with_as_for_scaling(when_scaled):
    policy = {"whenScaled": when_scaled, "whenDeleted": "Delete" if when_scaled == "Retain" else "Retain"}
    spec = {"scaleDown": {"policy": "Force"}, "storage": {"retentionPolicy": policy}}
    full = settled(parsed({"eu": 1, "us": 2}, **spec), EMPTY)
    plan = planned(parsed({"eu": 1}, **spec), full)
    assert plan.patch[0][2]["spec"] == {
        "replicas": 0,
        "persistentVolumeClaimRetentionPolicy": {"whenScaled": when_scaled, "whenDeleted": when_scaled},
    }
    assert planned(parsed({"eu": 1}, **spec), carried_out(plan, full)).patch == ()


def test_a_region_that_comes_back_while_it_is_emptied_is_filled_again():
    force = {"scaleDown": {"policy": "Force"}}
    both, one = parsed({"eu": 1, "us": 2}, **force), parsed({"eu": 1}, **force)
    full = settled(both, EMPTY)
    assert settled(both, carried_out(planned(one, full), full)).objects == full.objects


# A hand.


@few
@given(clusters(), st.data())
def test_a_hands_scaling_is_taken_back_and_is_no_decision(cluster, data):
    rest = settled(cluster, EMPTY)
    name, replicas = data.draw(st.sampled_from(sorted(replicas_of(planned(cluster, rest)).items())))
    edited = with_replicas(rest, name, data.draw(st.integers(0, 9)))
    plan = planned(cluster, edited)
    assert replicas_of(plan)[name] == replicas
    assert plan.blocked == ()


@pytest.mark.parametrize("text", ["removed", "", "-1", "many", "²", "2.5", "101", "9" * 30])
def test_an_annotation_that_is_no_number_counts_as_none(text):
    cluster = parsed({"eu": 2})
    edited = with_replicas(settled(cluster, EMPTY), "demo-eu", 2, annotation=text)
    assert replicas_of(planned(cluster, edited))["demo-eu"] == 2
    assert replicas_of(planned(parsed({"eu": 1}), edited))["demo-eu"] == 2


@few
@given(clusters(), clusters(), st.data())
def test_what_another_owns_is_never_written(old, new, data):
    rest = settled(old, EMPTY)
    theirs = data.draw(st.sets(st.sampled_from(sorted(rest.objects))))
    owner = {"kind": "Other", "name": "theirs", "uid": "another", "controller": True}
    objects = {
        key: {**obj, "metadata": {**obj["metadata"], "ownerReferences": [owner]}} if key in theirs else obj
        for key, obj in rest.objects.items()
    }
    plan = planned(new, dataclasses.replace(rest, objects=objects))
    written = {(obj["kind"], obj["metadata"]["name"]) for obj in plan.apply}
    written |= {(kind.kind, name) for kind, name, _ in plan.patch}
    written |= {(kind.kind, obj["metadata"]["name"]) for kind, obj in plan.delete}
    assert not written & theirs
    assert {(obj["kind"], obj["metadata"]["name"]) for obj in plan.taken} <= theirs


@few
@given(clusters())
def test_all_that_is_applied_has_its_owner_its_namespace_and_its_stamp(cluster):
    for obj in planned(cluster, EMPTY).apply:
        owner = obj["metadata"]["ownerReferences"]
        assert [(one["uid"], one["controller"], one["name"]) for one in owner] == [(UID, True, cluster.name)]
        assert obj["metadata"]["namespace"] == "data"
        assert drift.stamp(obj)


# The order of things.


@few
@given(clusters())
def test_the_first_root_is_alone_until_the_stores_address_is_known(cluster):
    first = planned(cluster, EMPTY, UNKNOWN)
    root = names.group_object(cluster, cluster.root)
    assert replicas_of(first)[root] == 1
    assert bool(first.held) == (cluster.root.replicas > 1)
    assert first.replicas[cluster.root.name] == 1
    assert not [obj for obj in first.apply if obj["kind"] == "ConfigMap"]
    there = carried_out(first, EMPTY)
    assert replicas_of(planned(cluster, there, UNKNOWN))[root] == 1
    assert replicas_of(planned(cluster, there, KNOWN))[root] == cluster.root.replicas
    assert [obj["data"] for obj in planned(cluster, there).apply if obj["kind"] == "ConfigMap"] == [
        {names.STORE_KEY: KNOWN.store_address}
    ]


@few
@given(clusters())
def test_no_pod_is_restarted_when_the_stores_address_becomes_known(cluster):
    def templates(plan):
        sets = [obj for obj in plan.apply if obj["kind"] == STATEFUL_SET.kind]
        return {obj["metadata"]["name"]: obj["spec"]["template"] for obj in sets}

    first = planned(cluster, EMPTY, UNKNOWN)
    assert templates(planned(cluster, carried_out(first, EMPTY), KNOWN)) == templates(first)


def test_roots_that_ran_before_do_not_wait_when_the_address_is_not_known_for_a_moment():
    cluster = parsed({"eu": 1}, roots=3)
    plan = planned(cluster, settled(cluster, EMPTY), UNKNOWN)
    assert (replicas_of(plan)["demo-root"], plan.held) == (3, {})
    assert plan.delete == ()  # the ConfigMap that tells the address stays


@few
@given(clusters(), clusters())
def test_a_paused_region_is_not_touched_and_the_others_are(old, new):
    observed = settled(old, EMPTY)
    plan = planned(new, observed)
    paused = {names.group_object(new, group) for group in new.regions if group.paused}
    touched = {obj["metadata"]["name"] for obj in plan.apply}
    touched |= {name for _, name, _ in plan.patch} | {obj["metadata"]["name"] for _, obj in plan.delete}
    assert not touched & paused
    assert wanted_replicas(new).keys() - paused <= touched
