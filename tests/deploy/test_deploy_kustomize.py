"""What `kubectl apply -k` would apply, built by kubectl itself."""

import pytest
from deploy_files import by_key, kustomized, one

ARGUMENT = "--namespace="


def arguments(objects):
    return one(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]


def test_deploy_is_the_definition_and_the_operator_and_no_more():
    whole, operator, definition = (
        by_key(kustomized(folder)) for folder in ("deploy", "deploy/operator", "crds")
    )
    assert not set(operator) & set(definition)
    assert whole == operator | definition
    assert {kind for kind, *_ in definition} == {"CustomResourceDefinition"}


def test_monitoring_adds_to_the_operator_and_changes_nothing_of_it():
    operator, monitored = (
        by_key(kustomized("deploy/operator")),
        by_key(kustomized("deploy/overlays/monitoring")),
    )
    assert operator.items() <= monitored.items()
    added = [kind for kind, *_ in set(monitored) - set(operator)]
    assert sorted(added) == ["ConfigMap", "PodMonitor", "PodMonitor", "PrometheusRule"]


def test_a_namespaced_operator_has_rights_where_it_looks_and_nowhere_else():
    objects = kustomized("deploy/overlays/namespaced")
    assert not [thing for thing in objects if thing["kind"] == "ClusterRoleBinding"]
    (command, *options) = arguments(objects)
    assert command == "run"
    watched = [option.removeprefix(ARGUMENT) for option in options if option.startswith(ARGUMENT)]
    bound = [
        thing["metadata"]["namespace"]
        for thing in objects
        if thing["kind"] == "RoleBinding" and thing["roleRef"]["name"] == "peersdb-operator"
    ]
    assert watched == bound == ["datasets"]


def test_an_operator_of_all_namespaces_is_told_none():
    assert arguments(kustomized("deploy/operator")) == ["run"]


@pytest.mark.parametrize(
    "folder", ["deploy/operator", "deploy/overlays/namespaced", "deploy/overlays/monitoring"]
)
def test_every_binding_names_a_role_and_an_account_that_are_there(folder):
    objects = by_key(kustomized(folder))
    bindings = [thing for (kind, *_), thing in objects.items() if kind.endswith("RoleBinding")]
    assert bindings
    for binding in bindings:
        role = binding["roleRef"]
        space = binding["metadata"]["namespace"] if role["kind"] == "Role" else ""
        assert (role["kind"], space, role["name"]) in objects
        for subject in binding["subjects"]:
            assert (subject["kind"], subject["namespace"], subject["name"]) in objects


@pytest.mark.parametrize("folder", ["deploy/operator", "deploy/overlays/namespaced"])
def test_every_selector_selects_the_operators_pods(folder):
    objects = kustomized(folder)
    template = one(objects, "Deployment")["spec"]["template"]
    labels = template["metadata"]["labels"]
    (spread,) = template["spec"]["topologySpreadConstraints"]
    selectors = [
        one(objects, "Deployment")["spec"]["selector"],
        one(objects, "PodDisruptionBudget")["spec"]["selector"],
        one(objects, "NetworkPolicy")["spec"]["podSelector"],
        spread["labelSelector"],
    ]
    for selector in selectors:
        assert selector["matchLabels"].items() <= labels.items()
        # A member's pod is never among them.
        assert selector["matchLabels"]["app.kubernetes.io/name"] == "peersdb-operator"
