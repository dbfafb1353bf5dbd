"""The Helm chart: what it renders is what kustomize builds."""

import json
import tarfile

import jsonschema
import pytest
import yaml
from deploy_files import CHART, DEPLOY, ROOT, by_key, documents, in_file, kustomized, one, run, tool

#: What helm's custom puts on every object besides the project's own.
HELMS = {
    "helm.sh/chart",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/version",
}
NAMESPACE = "peersdb-system"
DEFINITIONS = {
    ("CustomResourceDefinition", "", "peersdbbenchmarks.peersdb.io"),
    ("CustomResourceDefinition", "", "peersdbclusters.peersdb.io"),
}
CLUSTER = {"name": "weather", "namespace": "datasets", "spec": {"image": {"repository": "peersdb/node"}}}


def render(tmp_path, values=None, *options, check=True):
    """Renders as `helm install` would; gives the objects, or what helm said where it may refuse."""
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values or {}))
    done = run(
        tool("helm"), "template", "peersdb-operator", CHART, "--namespace", NAMESPACE, "--include-crds",
        "--kube-version", "1.30.0", "--values", tmp_path / "values.yaml", *options,
        check=check, env=home(tmp_path),
    )  # fmt: skip
    return documents(done.stdout) if check else done.stderr


def home(tmp_path):
    return {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}


def without_helms(value):
    if isinstance(value, dict):
        return {name: without_helms(entry) for name, entry in value.items() if name not in HELMS}
    return [without_helms(entry) for entry in value] if isinstance(value, list) else value


def values():
    return yaml.safe_load((CHART / "values.yaml").read_text())


def schema():
    return json.loads((CHART / "values.schema.json").read_text())


def test_the_defaults_satisfy_the_schema_and_it_knows_each_of_them():
    jsonschema.Draft7Validator.check_schema(schema())
    jsonschema.validate(values(), schema())
    known = schema()["properties"]
    assert set(values()) == set(known) - {"global"}
    for name, value in values().items():
        if isinstance(value, dict) and "properties" in known[name]:
            assert set(value) == set(known[name]["properties"]), name


@pytest.mark.parametrize(
    "wrong",
    [
        {"watchNamespace": ["a"]},
        {"image": {"digets": ""}},
        {"replicaCount": 0},
        {"watchNamespaces": ["Upper"]},
        {"watchNamespaces": "datasets"},
        {"monitoring": {"interval": 15}},
        {"clusters": [{"name": "weather", "spec": {}}]},  # in no namespace
    ],
    ids=str,
)
def test_a_wrong_value_is_refused(wrong):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values() | wrong, schema())


def test_what_the_chart_shares_with_kustomize_is_the_same_file():
    links = [path for path in CHART.rglob("*") if path.is_symlink()]
    assert {path.resolve().relative_to(ROOT).as_posix() for path in links} == {
        "crds/peersdbbenchmarks.yaml",
        "crds/peersdbclusters.yaml",
        "deploy/base/deletion-protection.yaml",
        "deploy/base/role.yaml",
        "deploy/base/user-roles.yaml",
        "deploy/monitoring/alerts.yaml",
        "deploy/monitoring/dashboard.json",
    }
    # Helm takes every file of crds/ for a definition.
    assert sorted(path.name for path in (CHART / "crds").iterdir()) == [
        "peersdbbenchmarks.yaml",
        "peersdbclusters.yaml",
    ]


def test_the_default_chart_is_the_kustomize_install(tmp_path):
    rendered = by_key(without_helms(render(tmp_path)))
    built = by_key(without_helms(kustomized("deploy")))
    # The namespace of a release is there before it: helm keeps its own record in it.
    del built["Namespace", "", NAMESPACE]
    assert set(rendered) == set(built)
    for name, thing in built.items():
        assert rendered[name] == thing, name


def test_with_monitoring_the_chart_is_the_overlay(tmp_path):
    monitoring = {"monitoring": {"podMonitors": True, "rules": True, "dashboard": True}}
    rendered = by_key(without_helms(render(tmp_path, monitoring)))
    built = by_key(without_helms(kustomized("deploy/overlays/monitoring")))
    for name in set(built) - {("Namespace", "", NAMESPACE)}:
        assert rendered[name] == built[name], name


def test_a_namespaced_chart_is_the_overlay(tmp_path):
    rendered = by_key(without_helms(render(tmp_path, {"watchNamespaces": ["datasets"]})))
    built = by_key(without_helms(kustomized("deploy/overlays/namespaced")))
    del built["Namespace", "", NAMESPACE]
    assert set(rendered) - DEFINITIONS == set(built)
    for name, thing in built.items():
        assert rendered[name] == thing, name


def test_two_releases_share_no_object(tmp_path):
    first = render(tmp_path, {"watchNamespaces": ["one"]})
    second = render(
        tmp_path,
        {
            "watchNamespaces": ["two"],
            "fullnameOverride": "peersdb-two",
            "userRoles": {"create": False},
            "deletionProtection": {"create": False},
        },
        "--namespace",
        "team-two",
    )
    shared = set(by_key(first)) & set(by_key(second))
    assert shared == DEFINITIONS
    assert one(second, "ClusterRole")["rules"] == one(in_file("base/role.yaml"), "ClusterRole")["rules"]
    # The Lease is named by the operator, and each namespace has its own.
    assert one(second, "Role")["rules"][1]["resourceNames"] == ["peersdb-operator"]


def test_clusters_of_the_values_outlive_the_release(tmp_path):
    found = one(
        render(tmp_path, {"clusters": [CLUSTER | {"labels": {"team": "forecasting"}}]}), "PeersDBCluster"
    )
    assert found["metadata"] == {
        "name": "weather",
        "namespace": "datasets",
        "labels": {"team": "forecasting"},
        "annotations": {"helm.sh/resource-policy": "keep"},
    }
    assert found["spec"] == CLUSTER["spec"]


def test_the_image_is_a_tag_or_a_digest(tmp_path):
    def image(**fields):
        pod = one(render(tmp_path, {"image": fields}), "Deployment")["spec"]["template"]["spec"]
        return pod["containers"][0]["image"]

    digest = "sha256:" + "0" * 64
    assert image(tag="1.2.3") == "peersdb/operator:1.2.3"
    assert image(repository="registry.example.com/op", digest=digest) == f"registry.example.com/op@{digest}"


def test_every_value_of_the_pod_reaches_it(tmp_path):
    given = {
        "imagePullSecrets": [{"name": "login"}],
        "replicaCount": 3,
        "resources": {"limits": {"memory": "1Gi"}},
        "podAnnotations": {"a": "1"},
        "podLabels": {"b": "2"},
        "nodeSelector": {"c": "3"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
    }
    deployment = one(render(tmp_path, given), "Deployment")["spec"]
    template = deployment["template"]
    assert deployment["replicas"] == 3
    assert template["metadata"]["annotations"]["a"] == "1"
    assert template["metadata"]["labels"]["b"] == "2"
    for name in ("imagePullSecrets", "nodeSelector", "tolerations", "affinity", "priorityClassName"):
        assert template["spec"][name] == given[name]
    assert template["spec"]["containers"][0]["resources"] == {
        "limits": {"memory": "1Gi"},
        "requests": {"cpu": "50m", "memory": "128Mi"},
    }


def test_helm_refuses_what_the_schema_refuses(tmp_path):
    assert "watchNamespace" in render(tmp_path, {"watchNamespace": ["datasets"]}, check=False)


def test_lint_finds_nothing_but_the_missing_icon(tmp_path):
    done = run(tool("helm"), "lint", "--strict", CHART, env=home(tmp_path))
    assert done.stdout.count("[INFO]") == 1
    assert "icon is recommended" in done.stdout


def test_a_packaged_chart_holds_files_in_place_of_links(tmp_path):
    run(tool("helm"), "package", CHART, "--destination", tmp_path, env=home(tmp_path))
    (package,) = tmp_path.glob("peersdb-operator-*.tgz")
    with tarfile.open(package) as archive:
        members = archive.getmembers()
        assert all(member.isfile() for member in members)
        definition = archive.extractfile("peersdb-operator/crds/peersdbclusters.yaml")
        assert definition.read() == (ROOT / "crds" / "peersdbclusters.yaml").read_bytes()
        dashboard = archive.extractfile("peersdb-operator/files/dashboard.json")
        assert dashboard.read() == (DEPLOY / "monitoring" / "dashboard.json").read_bytes()
