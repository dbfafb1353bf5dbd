"""What the manifests of deploy/ say, read as they are: no program is needed."""

import tomllib
from pathlib import Path

import pytest
import yaml
from deploy_files import DEPLOY, ROOT, documents, in_file, one

from peersdb_operator import builders, cluster

#: What the operator may do in a namespace, and nothing else.
WRITTEN = {"get", "list", "watch", "create", "patch", "delete"}
READ = {"get", "list", "watch"}
RIGHTS = {
    ("peersdb.io", "peersdbclusters"): READ,
    ("peersdb.io", "peersdbclusters/status"): {"get", "patch"},
    ("peersdb.io", "peersdbclusters/finalizers"): {"update"},
    ("peersdb.io", "peersdbbenchmarks"): READ | {"delete"},
    ("peersdb.io", "peersdbbenchmarks/status"): {"get", "patch"},
    ("peersdb.io", "peersdbbenchmarks/finalizers"): {"update"},
    ("batch", "jobs"): WRITTEN - {"delete"},
    ("apps", "statefulsets"): WRITTEN,
    ("", "services"): WRITTEN,
    ("", "serviceaccounts"): WRITTEN,
    ("", "configmaps"): WRITTEN,
    ("", "secrets"): WRITTEN,
    ("networking.k8s.io", "networkpolicies"): WRITTEN,
    ("policy", "poddisruptionbudgets"): WRITTEN,
    ("", "pods"): READ | {"delete"},
    ("", "persistentvolumeclaims"): READ,
    ("", "events"): {"create", "patch"},
    ("events.k8s.io", "events"): {"create", "patch"},
}

KUSTOMIZATIONS = sorted([ROOT / "crds" / "kustomization.yaml", *DEPLOY.rglob("kustomization.yaml")])
MANIFESTS = sorted(path for folder in KUSTOMIZATIONS for path in folder.parent.glob("*.yaml"))


def rights(role):
    found = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found.setdefault((group, resource), set()).update(rule["verbs"])
    return found


def roles():
    return [
        document
        for path in MANIFESTS
        for document in documents(path.read_text())
        if document.get("kind") in ("Role", "ClusterRole")
    ]


def test_no_role_has_a_wildcard():
    assert len(roles()) == 5
    for role in roles():
        for rule in role["rules"]:
            for field in ("apiGroups", "resources", "verbs"):
                assert not any("*" in value for value in rule[field]), role["metadata"]["name"]


def test_no_role_may_raise_its_own_rights():
    for role in roles():
        for verb in ("escalate", "bind", "impersonate"):
            assert not any(verb in rule["verbs"] for rule in role["rules"])
        assert not any(group.startswith("rbac.") for group, _ in rights(role))


def test_the_operator_has_these_rights_and_no_others():
    assert rights(one(in_file("base/role.yaml"), "ClusterRole")) == RIGHTS


def test_every_kind_that_the_operator_builds_may_be_written():
    sample = cluster.read(DEPLOY / "samples" / "full.yaml")
    kinds = {
        (built["apiVersion"], built["kind"]) for built in builders.build(sample, builders.Facts("/orbitdb/x"))
    }
    assert len(kinds) >= 5
    for version, kind in kinds:
        group = version.rpartition("/")[0]
        plural = kind.lower() + "s" if not kind.endswith("y") else kind.lower()[:-1] + "ies"
        assert RIGHTS[group, plural] == WRITTEN


def test_outside_the_clusters_namespaces_the_operator_has_its_lease_and_reads_nodes():
    lease = rights(one(in_file("base/lease.yaml"), "Role"))
    assert lease == {("coordination.k8s.io", "leases"): {"create", "get", "update"}}
    named = [rule for rule in one(in_file("base/lease.yaml"), "Role")["rules"] if "resourceNames" in rule]
    assert [(rule["resourceNames"], rule["verbs"]) for rule in named] == [
        (["peersdb-operator"], ["get", "update"])
    ]
    nodes = one(in_file("operator/all-namespaces.yaml"), "ClusterRole")
    assert rights(nodes) == {("", "nodes"): READ}


def test_people_get_their_rights_with_those_of_the_namespace():
    view, edit = (
        one(in_file("base/user-roles.yaml"), "ClusterRole", name) for name in ("peersdb-view", "peersdb-edit")
    )
    to = "rbac.authorization.k8s.io/aggregate-to-"
    assert view["metadata"]["labels"] == dict.fromkeys([f"{to}view", f"{to}edit", f"{to}admin"], "true")
    assert edit["metadata"]["labels"] == dict.fromkeys([f"{to}edit", f"{to}admin"], "true")
    ours = ("peersdbclusters", "peersdbbenchmarks")
    assert rights(view) == dict.fromkeys(
        [("peersdb.io", f"{plural}{part}") for plural in ours for part in ("", "/status")], READ
    )
    # Nobody but the operator says how a cluster stands.
    assert set(rights(edit)) == {("peersdb.io", plural) for plural in ours}


def test_the_operators_pod_keeps_the_restricted_standard():
    pod = one(in_file("base/deployment.yaml"), "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"startupProbe", "livenessProbe", "readinessProbe", "resources"} <= set(container)
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert all(set(volume) == {"name", "emptyDir"} for volume in pod["volumes"])


def test_the_operators_namespace_enforces_the_restricted_standard():
    labels = one(in_file("base/namespace.yaml"), "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_policies_and_monitors_name_ports_that_the_operator_has():
    container = one(in_file("base/deployment.yaml"), "Deployment")["spec"]["template"]["spec"]["containers"][
        0
    ]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"health": 8080, "metrics": 8081}
    (policy,) = in_file("base/network-policy.yaml")
    open_ports = {
        port["port"]: rule.get("from") for rule in policy["spec"]["ingress"] for port in rule["ports"]
    }
    assert set(open_ports) == set(ports)
    assert open_ports["health"] is None
    assert open_ports["metrics"] == [
        {"namespaceSelector": {"matchLabels": {"peersdb.io/monitoring": "true"}}}
    ]
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    monitor = one(in_file("monitoring/podmonitors.yaml"), "PodMonitor", "peersdb-operator")
    assert [end["port"] for end in monitor["spec"]["podMetricsEndpoints"]] == ["metrics"]


def test_monitors_find_the_pods_that_the_operator_makes():
    monitor = one(in_file("monitoring/podmonitors.yaml"), "PodMonitor", "peersdb-members")["spec"]
    sample = cluster.read(DEPLOY / "samples" / "quickstart.yaml")
    sets = [built for built in builders.build(sample) if built["kind"] == "StatefulSet"]
    (end,) = monitor["podMetricsEndpoints"]
    sources = {source for rule in end["relabelings"] for source in rule["sourceLabels"]}
    for built in sets:
        template = built["spec"]["template"]
        labels = template["metadata"]["labels"]
        assert monitor["selector"]["matchLabels"].items() <= labels.items()
        assert end["port"] in {port["name"] for port in template["spec"]["containers"][0]["ports"]}
        meta = {
            "__meta_kubernetes_pod_label_" + label.translate(str.maketrans("./-", "___")) for label in labels
        }
        assert sources <= meta


def test_versions_are_the_projects():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    container = one(in_file("base/deployment.yaml"), "Deployment")["spec"]["template"]["spec"]["containers"][
        0
    ]
    assert container["image"] == f"peersdb/operator:{version}"
    chart = yaml.safe_load((DEPLOY / "helm" / "peersdb-operator" / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (version, version)


@pytest.mark.parametrize("path", KUSTOMIZATIONS, ids=lambda path: str(path.parent.relative_to(ROOT)))
def test_a_kustomization_names_every_manifest_beside_it(path):
    content = yaml.safe_load(path.read_text())
    named = {path.parent / resource for resource in [*content["resources"], *content.get("components", [])]}
    assert all(entry.exists() for entry in named)
    if path.parent == DEPLOY:  # beside its folders lies kind's configuration
        return
    beside = {
        file for file in path.parent.glob("*.yaml") if file.name not in ("kustomization.yaml", "alerts.yaml")
    }
    assert beside <= named


def test_the_operator_s_own_kustomization_lacks_the_definition():
    # `kubectl delete -k deploy/operator` must leave the clusters: with the definition they would go.
    reached, seen = [DEPLOY / "operator"], set()
    while reached:
        folder = reached.pop().resolve()
        seen.add(folder)
        for resource in yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]:
            entry = folder / resource
            if entry.is_dir():
                reached.append(entry)
            else:
                assert all(
                    found["kind"] != "CustomResourceDefinition" for found in documents(entry.read_text())
                )
    assert (ROOT / "crds").resolve() not in seen


def test_kind_has_a_region_for_each_of_the_quickstart():
    nodes = yaml.safe_load((DEPLOY / "kind.yaml").read_text())["nodes"]
    key = "topology.kubernetes.io/region"
    regions = {node["labels"][key] for node in nodes if node["role"] == "worker"}
    sample = cluster.read(Path(DEPLOY / "samples" / "quickstart.yaml"))
    assert sample.region_label_key == key
    assert regions == {group.region for group in sample.groups}
