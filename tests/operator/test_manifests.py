"""Manifests: a corpus of good and bad ones, and the CRD that judges them.

Each bad one begins with the faults that it must be refused for, one ``# expect: <path>: <beginning of the message>``
a line: all of them and no others.
"""

import re
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st
from operator_cluster import manifest, measure

from peersdb_operator import (
    benchmark,
    benchmark_rules,
    cluster,
    cluster_rules,
    definition,
    documents,
    manifests,
)
from peersdb_operator.errors import ManifestError

CORPUS = Path(__file__).with_name("manifests")
GOOD = sorted((CORPUS / "good").glob("*.yaml"))
BAD = sorted((CORPUS / "bad").glob("*.yaml"))
SAMPLES = sorted((Path(__file__).parents[2] / "deploy" / "samples").glob("*.yaml"))


def faults_of(data):
    with pytest.raises(ManifestError) as refused:
        manifests.parse(data)
    return refused.value.faults


@pytest.mark.parametrize("path", [*GOOD, *SAMPLES], ids=lambda path: path.stem)
def test_a_good_manifest_is_accepted(path):
    assert manifests.read(path).manifest["kind"] in path.read_text()


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_manifest_is_refused_for_all_its_faults_at_once(path):
    data = path.read_bytes()
    expected = re.findall(r"^# expect: ?(.*)$", data.decode(), re.MULTILINE)
    assert expected
    found = [f"{fault.path}: {fault.message}" for fault in faults_of(data)]
    missed = [text for text in expected if not any(fault.startswith(text) for fault in found)]
    beyond = [fault for fault in found if not any(fault.startswith(text) for text in expected)]
    assert (missed, beyond) == ([], [])


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_fault_has_its_place_in_the_file(path):
    data = path.read_bytes()
    if path.stem != "empty":
        lines = data.decode().splitlines()
        assert all(1 <= fault.line <= len(lines) + 1 and fault.column >= 1 for fault in faults_of(data))


def test_the_place_of_a_fault_is_that_of_its_key():
    data = (CORPUS / "bad" / "ports.yaml").read_bytes()
    lines = data.decode().splitlines()
    for fault in faults_of(data):
        assert lines[fault.line - 1][fault.column - 1 :].startswith(fault.path.rpartition(".")[2])


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ManifestError, match=r"none\.yaml: cannot be read: No such file"):
        manifests.read(tmp_path / "none.yaml")


def test_what_is_too_large_or_too_deep_is_no_manifest():
    assert "larger than" in faults_of(b"a" * (documents.MAX_BYTES + 1))[0].message
    assert "nested too deeply" in faults_of(b"[" * 5000 + b"]" * 5000)[0].message


def test_aliases_cannot_unfold_without_end():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert any("more than" in fault.message for fault in faults_of("\n".join(lines).encode()))


@given(st.binary(max_size=200))
def test_any_bytes_are_accepted_or_refused_with_a_fault(data):
    try:
        manifests.parse(data)
    except ManifestError as error:
        assert error.faults  # noqa: PT017 - either way is right


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3)
    ),
    max_leaves=8,
)


def spec_fields(resource):
    return sorted(resource.schema()["properties"]["spec"]["properties"])


@given(st.sampled_from(spec_fields(definition.CLUSTER)), PLAIN)
def test_any_value_in_any_field_is_judged_without_a_crash(field, value):
    wanted = manifest()
    wanted["spec"][field] = value
    assert isinstance(cluster.object_faults(wanted), list)


@given(st.sampled_from(spec_fields(definition.BENCHMARK)), PLAIN)
def test_any_value_in_any_field_of_a_benchmark_is_judged_without_a_crash(field, value):
    wanted = measure()
    wanted["spec"][field] = value
    assert isinstance(benchmark.object_faults(wanted), list)


# The CRD and its twins.


def cel_rules(node, path=()):
    """All CEL rules of a schema: the path a fault of it is reported at, the message, whether it looks at oldSelf."""
    for rule in node.get("x-kubernetes-validations", []):
        inner = tuple(part for part in rule.get("fieldPath", "").split(".") if part)
        yield (*path, *inner), rule["message"], "oldSelf" in rule["rule"]
    for name, child in node.get("properties", {}).items():
        yield from cel_rules(child, (*path, name))
    if "items" in node:
        yield from cel_rules(node["items"], (*path, 0))


@pytest.mark.parametrize(
    ("resource", "table"), [(definition.CLUSTER, cluster_rules), (definition.BENCHMARK, benchmark_rules)]
)
def test_every_cel_rule_has_its_twin_and_every_twin_its_rule(resource, table):
    found = list(cel_rules(resource.schema()))
    assert [(path, message) for path, message, old in found if not old] == [
        (r.path, r.message) for r in table.RULES
    ]
    assert sorted((path, message) for path, message, old in found if old) == sorted(
        (t.path, t.message) for t in table.TRANSITIONS
    )


@pytest.mark.parametrize("resource", definition.RESOURCES)
def test_every_field_says_what_it_is_for(resource):
    def silent(node, path):
        for name, child in node.get("properties", {}).items():
            here = f"{path}.{name}"
            if "description" not in child and not here.startswith(".metadata"):
                yield here
            yield from silent(child, here)
            yield from silent(child.get("items", {}), here)

    assert list(silent(resource.schema(), "")) == []


@pytest.mark.parametrize("resource", definition.RESOURCES)
def test_defaults_of_a_part_are_the_defaults_of_its_fields(resource):
    """A default is taken as it stands: one that left out a field's own default would lose it."""

    def check(node):
        for child in node.get("properties", {}).values():
            if isinstance(child.get("default"), dict):
                assert definition.with_defaults({}, child) == child["default"]
            check(child)

    check(resource.schema())


def test_what_a_group_leaves_out_is_inherited_and_what_it_says_wins():
    value = manifest(storage={"size": "2Gi", "storageClassName": "slow"})
    value["spec"]["regions"][0]["storage"] = {"size": "3Gi"}
    parsed = cluster.from_object(value)
    assert [group.storage.size for group in parsed.groups] == ["2Gi", "3Gi", "2Gi"]
    assert {group.storage.storage_class_name for group in parsed.groups} == {"slow"}


# Changes.


def storage(size=None, **more):
    return {**({"size": size} if size else {}), **more}


def changed(old, new):
    before, after = (manifest({"eu": 1}, **value) for value in (old, new))
    try:
        cluster.check_change(cluster.from_object(after), cluster.from_object(before))
    except ManifestError as error:
        return [str(fault) for fault in error.faults]
    return []


SIZE = [
    "spec.regions: a region's storage size is immutable",
    "spec.root: the root's storage size is immutable",
]
CLASS = [
    "spec.regions: a region's storageClassName is immutable",
    "spec.root: the root's storageClassName is immutable",
]


@pytest.mark.parametrize(
    ("old", "new", "faults"),
    [
        ({}, {}, []),
        ({}, {"storage": storage("10240Mi")}, []),
        ({}, {"storage": storage("11Gi")}, SIZE),
        ({}, {"storage": storage("1Gi")}, SIZE),
        ({}, {"storage": storage(storageClassName="fast")}, CLASS),
        ({"storage": storage(storageClassName="fast")}, {"storage": storage(storageClassName="fast")}, []),
        ({"storage": storage(storageClassName="fast")}, {}, CLASS),
        ({}, {"paused": True, "benchmark": {"enabled": True}}, []),
    ],
)
def test_storage_may_not_change_but_be_said_otherwise(old, new, faults):
    assert changed(old, new) == faults


def test_a_region_may_come_and_go_and_say_what_it_inherited():
    old = manifest({"eu": 1, "us": 1})
    new = manifest({"us": 5, "asia": 1})
    new["spec"]["regions"][0]["storage"] = {"size": "10Gi", "ephemeral": False}
    cluster.check_change(cluster.from_object(new), cluster.from_object(old))
    new["spec"]["regions"][0]["storage"]["ephemeral"] = True
    with pytest.raises(ManifestError, match=r"spec\.regions: a region's storage\.ephemeral is immutable"):
        cluster.check_change(cluster.from_object(new), cluster.from_object(old))


def test_a_benchmark_may_change_until_it_has_started():
    old, new = measure(), measure(users=7)
    benchmark.check_change(benchmark.from_object(new), benchmark.from_object(old))
    old["status"] = {"startTime": "2026-01-01T00:00:00Z"}
    benchmark.check_change(
        benchmark.from_object(measure(users=6)), benchmark.from_object(old)
    )  # the default, said
    with pytest.raises(ManifestError, match="spec: the spec is immutable once the benchmark has started"):
        benchmark.check_change(benchmark.from_object(new), benchmark.from_object(old))


def test_a_manifest_of_one_kind_does_not_follow_one_of_the_other():
    with pytest.raises(ManifestError, match="the manifest in force is a PeersDBCluster"):
        manifests.check_change(benchmark.from_object(measure()), cluster.from_object(manifest()))


# What a benchmark means.


def test_what_a_benchmark_leaves_out_has_the_definitions_defaults():
    parsed = benchmark.from_object(measure())
    assert (parsed.users, parsed.spawn_rate, parsed.rate, parsed.repeats, parsed.workers) == (6, 6, 2.0, 1, 0)
    assert (parsed.run_time, parsed.warmup) == (60.0, 5.0)
    assert parsed.newcomers == benchmark.Newcomers(6, 1, "Region")
    assert parsed.faults == benchmark.Faults(20.0, 10.0, None)
    assert (parsed.dataset, parsed.payload_size, parsed.matrix.cells) == (None, None, 1)
    assert parsed.image.reference == f"peersdb/loadtests:{metadata.version('peersdb')}"


@pytest.mark.parametrize(
    ("metric", "side", "text", "limit"),
    [
        ("post.p99", "max", "500ms", 0.5),
        ("replication.max", "max", "1.5s", 1.5),
        ("join.median", "max", "2m", 120.0),
        ("requests.rate", "min", "10/s", 10.0),
        ("requests.rate", "min", "10", 10.0),
        ("errors.ratio", "max", "0.01", 0.01),
        ("memory.max", "max", "512Mi", 512 * 1024.0**2),
        ("cpu.mean", "max", "150", 150.0),
    ],
)
def test_a_limit_is_read_by_its_unit(metric, side, text, limit):
    (found,) = benchmark.from_object(measure(thresholds=[{"metric": metric, side: text}])).thresholds
    assert found == benchmark.Threshold(metric, limit, side == "max", text)


@pytest.mark.parametrize(
    ("spec", "dataset"),
    [
        ({"generated": {}}, benchmark.Dataset("generated", files=20, size=65536)),
        ({"generated": {"files": 3, "size": "1k"}}, benchmark.Dataset("generated", files=3, size=1000)),
        ({"configMap": {"name": "c"}}, benchmark.Dataset("configMap", name="c")),
        (
            {"persistentVolumeClaim": {"name": "c", "path": "a/b"}},
            benchmark.Dataset("persistentVolumeClaim", name="c", path="a/b"),
        ),
        (
            {"url": {"url": "https://example.com/d.zip", "sha256": "0" * 64}},
            benchmark.Dataset("url", url="https://example.com/d.zip", sha256="0" * 64),
        ),
    ],
)
def test_a_data_set_is_of_one_kind(spec, dataset):
    assert benchmark.from_object(measure(dataset=spec)).dataset == dataset


def test_sizes_of_a_matrix_are_bytes_and_each_combination_is_a_cell():
    matrix = {"regions": [1, 2], "peers": [1, 2, 3], "payloadSizes": ["1Ki", "1M"]}
    parsed = benchmark.from_object(measure(matrix=matrix)).matrix
    assert (parsed.payload_sizes, parsed.cells) == ((1024, 1_000_000), 12)


# YAML.


@given(PLAIN)
def test_what_yaml_writes_is_read_back(value):
    text = yaml.safe_dump(value, allow_unicode=True)
    assume(yaml.safe_load(text) == value)  # it loses some line ends
    # It takes 1e3, 0o7 and y for strings, the Kubernetes tools for two numbers and a boolean.
    assume(not re.search(r"[0-9]\.?[eE]|\b0o[0-7]|\b[yYnN]\b", text))
    read = documents.load(text.encode())
    assert [document.value for document in read] == ([] if value is None else [value])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("010", 8),
        ("0o7", 7),
        ("y", True),
        ("0x10", 16),
        ("1_000", 1000),
        ("on", True),
        ("'on'", "on"),
        ("1e3", 1000),
        ("1.5", 1.5),
        ("-", [None]),
    ],
)
def test_scalars_are_read_as_the_kubernetes_tools_read_them(text, value):
    assert documents.load(f"a: {text}".encode() if text != "-" else b"-")[0].value == (
        {"a": value} if text != "-" else value
    )


@pytest.mark.parametrize("text", [".nan", ".inf", "!!int x", "!!python/object:os.system x"])
def test_what_json_cannot_say_is_refused(text):
    with pytest.raises(ManifestError):
        documents.load(f"a: {text}".encode())
