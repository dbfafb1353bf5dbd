"""Objects, members, plans and statuses: pure functions, and what holds for every cluster."""

import dataclasses
import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from operator_cluster import closed, manifest

from peersdb_operator import builders, cluster, definition, members, names, plan, reference, status

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).with_name("golden")

REGIONS = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,6}[a-z0-9])?", fullmatch=True).filter(
    lambda name: name != "root"
)


def a_cluster(*, regions, name, roots, root_region, ephemeral, benchmark):
    value = manifest(
        regions, name=name, roots=roots, storage={"ephemeral": ephemeral}, benchmark={"enabled": benchmark}
    )
    value["spec"]["root"]["region"] = root_region
    return cluster.from_object(value)


CLUSTERS = st.builds(
    a_cluster,
    regions=st.dictionaries(REGIONS, st.integers(0, 5), max_size=6),
    name=st.from_regex(r"[a-z]([-a-z0-9]{0,30}[a-z0-9])?", fullmatch=True),
    roots=st.integers(1, 3),
    root_region=REGIONS,
    ephemeral=st.booleans(),
    benchmark=st.booleans(),
)


def of_kind(objects, kind):
    return [item for item in objects if item["kind"] == kind]


# Objects.


@pytest.mark.parametrize("sample", ["quickstart", "full"])
def test_the_objects_of_a_sample_are_the_golden_ones(sample):
    built = builders.build(
        cluster.read(ROOT / "deploy" / "samples" / f"{sample}.yaml"),
        builders.Facts("/orbitdb/zdpuSTORE", swarm_key_hash="0f" * 8 if sample == "full" else ""),
    )
    golden = GOLDEN / f"{sample}.json"
    assert built == json.loads(golden.read_text()), (
        "if this is meant, pods are rolled: say so, and renew the file"
    )


@given(CLUSTERS)
def test_pods_are_exactly_the_members(parsed):
    pods = [
        f"{item['metadata']['name']}-{index}"
        for item in of_kind(builders.build(parsed), "StatefulSet")
        for index in range(item["spec"]["replicas"])
    ]
    assert pods == [f"{parsed.name}-{member.name}" for member in members.of_cluster(parsed)]
    assert len(set(pods)) == len(pods)


@given(CLUSTERS)
def test_names_and_labels_keep_the_limits_of_kubernetes(parsed):
    for item in builders.build(parsed):
        assert len(item["metadata"]["name"]) <= 52
        assert all(len(value) <= 63 for value in item["metadata"]["labels"].values())
    identities = [(item["kind"], item["metadata"]["name"]) for item in builders.build(parsed)]
    assert len(set(identities)) == len(identities)


@given(CLUSTERS)
def test_labels_tell_root_from_peers_and_regions_apart(parsed):
    selectors = [
        tuple(sorted(item["spec"]["selector"]["matchLabels"].items()))
        for item in of_kind(builders.build(parsed), "StatefulSet")
    ]
    assert len(set(selectors)) == len(parsed.groups)
    for item in of_kind(builders.build(parsed), "StatefulSet"):
        labels = item["spec"]["template"]["metadata"]["labels"]
        assert item["spec"]["selector"]["matchLabels"].items() <= labels.items()


@given(CLUSTERS)
def test_pods_pass_the_restricted_standard(parsed):
    for item in of_kind(builders.build(parsed), "StatefulSet"):
        pod = item["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["requests"]
            assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()


@given(CLUSTERS)
def test_the_stores_address_rolls_no_pod(parsed):
    assert of_kind(builders.build(parsed), "StatefulSet") == of_kind(
        builders.build(parsed, builders.Facts("/orbitdb/x")), "StatefulSet"
    )


@given(CLUSTERS)
def test_bootstrap_names_are_those_of_root_pods_behind_their_service(parsed):
    services = {item["metadata"]["name"] for item in of_kind(builders.build(parsed), "Service")}
    roots = [names.pod(parsed, parsed.root, index) for index in range(parsed.root.replicas)]
    peers = dataclasses.replace(parsed.root, is_root=False)
    for address, pod in zip(builders.bootstrap_addresses(parsed, peers), roots, strict=True):
        host, _, port = address.partition(":")
        assert host.partition(".")[0] == pod
        assert host.partition(".")[2] in services
        assert int(port) == parsed.http_port


def test_an_ephemeral_group_has_no_volume_claims():
    parsed = cluster.from_object(manifest(storage={"ephemeral": True, "size": "1Gi"}))
    for item in of_kind(builders.build(parsed), "StatefulSet"):
        assert "volumeClaimTemplates" not in item["spec"]
        assert {"name": "data", "emptyDir": {"sizeLimit": "1Gi"}} in item["spec"]["template"]["spec"][
            "volumes"
        ]


def test_the_namespace_is_the_manifests_or_none():
    value = manifest()
    assert all("namespace" not in item["metadata"] for item in builders.build(cluster.from_object(value)))
    value["metadata"]["namespace"] = "data"
    assert {item["metadata"]["namespace"] for item in builders.build(cluster.from_object(value))} == {"data"}


# The order of work.

TEMPLATES = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 3))


@given(TEMPLATES)
def test_equal_means_nothing_to_do(templates):
    difference = plan.diff(templates, templates)
    assert difference.settled
    assert difference.keep == tuple(sorted(templates))


@given(TEMPLATES, TEMPLATES)
def test_carrying_a_plan_out_gives_what_is_desired(desired, observed):
    difference = plan.diff(desired, observed)
    running = {name: template for name, template in observed.items() if name not in difference.stop}
    for name in (*difference.start, *difference.restart):
        running[name] = desired[name]
    assert running == desired
    assert plan.diff(desired, running).settled


@given(TEMPLATES, TEMPLATES)
def test_what_does_not_differ_is_not_touched(desired, observed):
    touched = {*plan.diff(desired, observed).start, *plan.diff(desired, observed).restart}
    assert all(desired[name] != observed.get(name) for name in touched)


def standing(role, **more):
    values = {"is_root": role == "root", "known": False, "ready": False, "failing": False}
    return plan.Standing(**{**values, **more})


STANDINGS = st.fixed_dictionaries(
    {
        name: st.builds(
            plan.Standing,
            is_root=st.just(name.startswith("root")),
            known=st.booleans(),
            ready=st.booleans(),
            failing=st.booleans(),
        )
        for name in ("root-0", "root-1", "eu-0", "us-0")
    }
)


@given(STANDINGS, st.booleans())
def test_the_first_root_and_all_that_ran_before_wait_for_nobody(standings, store_known):
    held = plan.held_back(standings, "root-0", store_known=store_known)
    assert "root-0" not in held
    assert not any(standings[name].known for name in held)


@given(STANDINGS)
def test_without_a_store_nobody_new_starts_but_the_first_root(standings):
    held = plan.held_back(standings, "root-0", store_known=False)
    assert held.keys() == {name for name, it in standings.items() if not it.known and name != "root-0"}


def test_peers_wait_for_every_root_but_not_for_one_that_fails():
    peers = {"eu-0": standing("peer")}
    both = {"root-0": standing("root", ready=True), "root-1": standing("root")} | peers
    assert plan.held_back(both, "root-0", store_known=True) == {"eu-0": "waits for root-1"}
    failing = both | {"root-1": standing("root", failing=True)}
    assert plan.held_back(failing, "root-0", store_known=True) == {}
    none = failing | {"root-0": standing("root", failing=True)}
    assert plan.held_back(none, "root-0", store_known=True) == {"eu-0": "waits for root-0, root-1"}


@given(STANDINGS, st.sets(st.sampled_from(["root-0", "root-1", "eu-0", "us-0"])))
def test_a_restart_never_takes_the_last_ready_root_while_another_could_come_up(standings, outdated):
    chosen = plan.next_restart(outdated, standings)
    assert set(chosen) <= outdated
    roots = [name for name in chosen if standings[name].is_root]
    assert len(roots) <= 1
    if roots:
        others = [it for name, it in standings.items() if it.is_root and name != roots[0]]
        assert all(it.ready or it.failing for it in others)


@given(st.sets(st.sampled_from(["root-0", "root-1", "eu-0", "us-0"]), min_size=1))
def test_restarts_come_to_an_end_when_all_are_ready(outdated):
    standings = {
        name: standing("root" if name.startswith("root") else "peer", known=True, ready=True)
        for name in ("root-0", "root-1", "eu-0", "us-0")
    }
    left, steps = set(outdated), []
    while left:
        step = plan.next_restart(left, standings)
        assert step
        steps.append(step)
        left -= set(step)
    assert len(steps) <= 3


# The status.


def observe(parsed, ready, moving=()):
    return [
        status.Observation(
            member.name,
            member.group.name,
            member.is_root,
            member.name in ready,
            member.name in moving,
            "hm",
            "h:1",
        )
        for member in members.of_cluster(parsed)
    ]


@given(CLUSTERS, st.data())
def test_every_status_fits_the_crd_that_declares_all_its_fields(parsed, data):
    everyone = [member.name for member in members.of_cluster(parsed)]
    ready = data.draw(st.sets(st.sampled_from(everyone)))
    moving = data.draw(st.sets(st.sampled_from(everyone)))
    made = status.status(
        parsed, observe(parsed, ready, moving), generation=3, store_address="/x", previous={}, now=0.0
    )
    schema = definition.CLUSTER.schema()["properties"]["status"]
    jsonschema.validate(made, closed(schema))
    assert made["readyReplicas"] == len(ready)
    assert (made["phase"] == "Ready") == (ready == set(everyone) and not moving)


def test_a_transition_is_dated_once():
    parsed = cluster.from_object(manifest())
    everyone = {member.name for member in members.of_cluster(parsed)}
    first = status.status(
        parsed, observe(parsed, set()), generation=1, store_address=None, previous={}, now=0
    )
    second = status.status(
        parsed, observe(parsed, {"eu-0"}), generation=1, store_address=None, previous=first, now=60
    )
    third = status.status(
        parsed, observe(parsed, everyone), generation=1, store_address=None, previous=second, now=120
    )
    times = [status.condition(it, "Ready")["lastTransitionTime"] for it in (first, second, third)]
    assert times == ["1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1970-01-01T00:02:00Z"]


def test_the_conditions_say_who_is_not_ready_and_why():
    parsed = cluster.from_object(manifest({"eu": 3, "us": 2}))
    made = status.status(
        parsed, observe(parsed, {"root-0"}), generation=1, store_address=None, previous={}, now=0
    )
    assert status.condition(made, "Ready")["message"] == "eu-0: hm; eu-1: hm; eu-2: hm; and 2 more"
    assert status.condition(made, "RootAvailable")["status"] == "True"
    assert made["regionSummary"] == "eu 0/3, us 0/2"
    assert made["phase"] == "Degraded"


# The documents.


def test_the_reference_is_up_to_date():
    written = (ROOT / "docs" / "crd.md").read_text()
    assert written == reference.markdown(), "peersdb-operator crd -o markdown > docs/crd.md"


def test_the_full_sample_has_every_field_but_the_digest():
    value = yaml.safe_load((ROOT / "deploy" / "samples" / "full.yaml").read_text())

    def fields(node, path):
        for name, child in node.get("properties", {}).items():
            yield f"{path}.{name}"
            yield from fields(child, f"{path}.{name}")
            yield from fields(child.get("items", {}), f"{path}.{name}")

    def said(node, path):
        for name, child in node.items():
            yield f"{path}.{name}"
            for inner in child if isinstance(child, list) else [child]:
                if isinstance(inner, dict):
                    yield from said(inner, f"{path}.{name}")

    def alike(paths):
        """What one group says need not be said by the others."""
        return {
            path.replace(".root.", ".group.").replace(".regions.", ".group.").replace("p2pFrom", "httpFrom")
            for path in paths
        }

    every = alike(fields(definition.CLUSTER.schema()["properties"]["spec"], ""))
    assert every - alike(said(value["spec"], "")) == {".image.digest"}


def test_validation_reaches_every_member():
    objects = builders.build(cluster.read(ROOT / "deploy" / "samples" / "full.yaml"))
    commands = [
        container["args"]
        for found in objects
        if found["kind"] == "StatefulSet"
        for container in found["spec"]["template"]["spec"]["containers"]
    ]
    assert len(commands) > 1
    for args in commands:
        assert args[args.index("-quorum") + 1] == "66"
        assert args[args.index("-voters") + 1].split(",")[0].endswith("=2")
        rules = json.loads(args[args.index("-validators") + 1])
        assert [rule["validators"][0]["name"] for rule in rules] == ["size", "csv"]
        assert "-validate=false" not in args
