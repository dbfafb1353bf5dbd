"""The install on a real API server: it takes every object, the operator may do its work and no more, and what is
protected stays.
"""

import itertools
import json

import pytest
import yaml
from deploy_apiserver import ApiServer, eventually
from deploy_files import DEPLOY, documents

from peersdb_operator import builders, cluster

OPERATOR = "peersdb-system:peersdb-operator"
DEFINITION = "peersdbclusters.peersdb.io"
NUMBERS = itertools.count()

#: A policy that shows by what it refuses that all older ones count too.
CANARY = [
    {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "canary"},
        "spec": {
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "resources": ["namespaces"],
                        "operations": ["CREATE"],
                    }
                ]
            },
            "validations": [{"expression": "object.metadata.name != 'canary'"}],
        },
    },
    {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "canary"},
        "spec": {"policyName": "canary", "validationActions": ["Deny"]},
    },
]

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with the install of the README."""
    started = ApiServer(tmp_path_factory.mktemp("apiserver"))
    try:
        started.start()
        started.installed = started("apply", "-k", DEPLOY)
        started("wait", "--for=condition=Established", f"crd/{DEFINITION}")
        yield started
    finally:
        started.stop()


@pytest.fixture
def namespace(server):
    # Deleted namespaces stay without a controller, so each test has a name of its own.
    name = f"test-{next(NUMBERS)}"
    server("create", "namespace", name)
    return name


def sample(name, namespace, **spec):
    (manifest,) = documents((DEPLOY / "samples" / "quickstart.yaml").read_text())
    manifest["metadata"] |= {"name": name, "namespace": namespace}
    manifest["spec"] |= spec
    return manifest


def create(server, *manifests):
    server("create", "-f", "-", stdin=yaml.safe_dump_all(manifests))


def test_a_second_apply_changes_nothing(server):
    again = server("apply", "-k", DEPLOY).stdout.splitlines()
    assert len(again) == len(server.installed.stdout.splitlines()) >= 20
    # kubectl calls a PodDisruptionBudget configured each time, for its selector is replaced, never merged.
    changed = {line for line in again if not line.endswith(" unchanged")}
    assert changed <= {"poddisruptionbudget.policy/peersdb-operator configured"}


def test_the_operators_namespace_takes_its_pod(server):
    deployment = server.get("deployment", "peersdb-operator", "-n", "peersdb-system")
    template = deployment["spec"]["template"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": template["metadata"] | {"name": "try", "namespace": "peersdb-system"},
        "spec": template["spec"],
    }
    server("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    refused = server("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod), check=False)
    assert 'violates PodSecurity "restricted' in refused.stderr


def test_the_operator_may_write_and_remove_all_that_a_cluster_is_made_of(server, namespace):
    create(server, sample("whole", namespace))
    owner = server.get("peersdbcluster", "whole", "-n", namespace)
    things = builders.build(
        cluster.read(DEPLOY / "samples" / "quickstart.yaml"), builders.Facts("/orbitdb/x")
    )
    for thing in things:
        thing["metadata"] |= {
            "namespace": namespace,
            "ownerReferences": [
                {
                    **{field: owner[field] for field in ("apiVersion", "kind")},
                    **{field: owner["metadata"][field] for field in ("name", "uid")},
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        }
    # Twice: the first makes them, the second changes what is there.
    for _ in range(2):
        server.apply(*things, account=OPERATOR)
    kinds = ",".join(sorted({thing["kind"].lower() for thing in things}))
    gone = server("delete", kinds, "--all", "-n", namespace, "--wait=false", account=OPERATOR).stdout
    assert gone.count(" deleted") >= len(things)


@pytest.mark.parametrize(
    "deed",
    [
        "update peersdbclusters -A",
        "delete peersdbclusters -A",
        "delete persistentvolumeclaims -A",
        "deletecollection statefulsets.apps -A",
        "create pods -A",
        "create pods --subresource=exec -A",
        "get pods --subresource=log -A",
        "create rolebindings.rbac.authorization.k8s.io -A",
        "patch nodes -A",
        "get namespaces -A",
        "get customresourcedefinitions.apiextensions.k8s.io -A",
        "create leases.coordination.k8s.io -n=default",
        "update leases.coordination.k8s.io/another -n=peersdb-system",
    ],
)
def test_the_operator_may_not(server, deed):
    assert server("auth", "can-i", *deed.split(), account=OPERATOR, check=False).stdout == "no\n"


@pytest.mark.parametrize(
    "deed",
    [
        "watch peersdbclusters -A",
        "delete pods -A",
        "list nodes",
        "create events.events.k8s.io -A",
        "update leases.coordination.k8s.io/peersdb-operator -n=peersdb-system",
    ],
)
def test_the_operator_may(server, deed):
    assert server("auth", "can-i", *deed.split(), account=OPERATOR).stdout == "yes\n"


def test_the_operator_may_keep_its_lease_and_say_how_a_cluster_stands(server, namespace):
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "peersdb-operator", "namespace": "peersdb-system"},
        "spec": {"holderIdentity": "a"},
    }
    server("create", "-f", "-", stdin=json.dumps(lease), account=OPERATOR)
    server("replace", "-f", "-", stdin=json.dumps(lease), account=OPERATOR)
    create(server, sample("told", namespace))
    status = {"status": {"phase": "Ready"}}
    patch = ("patch", "peersdbcluster", "told", "-n", namespace, "--type=merge", "-p", json.dumps(status))
    server(*patch, "--subresource=status", account=OPERATOR)
    assert server.get("peersdbcluster", "told", "-n", namespace)["status"] == status["status"]


def test_a_protected_cluster_is_deleted_once_its_protection_is_lifted_as_the_message_says(server, namespace):
    create(server, sample("kept", namespace, deletionProtection=True), sample("free", namespace))
    refused = server("delete", "peersdbcluster", "kept", "-n", namespace, check=False)
    assert refused.returncode
    assert "(Forbidden)" in refused.stderr
    # All of a namespace at once: those that are not protected go.
    assert server("delete", "peersdbclusters", "--all", "-n", namespace, check=False).returncode
    names = [found["metadata"]["name"] for found in server.get("peersdbclusters", "-n", namespace)["items"]]
    assert names == ["kept"]
    advice = refused.stderr[refused.stderr.index("kubectl patch") :].strip().removeprefix("kubectl ")
    server(*advice.replace("'", "").split())
    server("delete", "peersdbcluster", "kept", "-n", namespace)


def test_a_namespace_that_holds_a_protected_cluster_is_not_deleted(server, namespace):
    create(server, sample("kept", namespace, deletionProtection=True), sample("free", namespace))

    def refused():
        done = server("delete", "namespace", namespace, "--dry-run=server", check=False)
        return f"namespace {namespace} holds the protected cluster kept" in done.stderr

    eventually(refused)
    assert server("delete", "namespace", namespace, "--wait=false", check=False).returncode
    assert server.get("namespace", namespace)["status"]["phase"] == "Active"
    lift = '{"spec":{"deletionProtection":false}}'
    server("patch", "peersdbcluster", "kept", "-n", namespace, "--type=merge", "-p", lift)
    eventually(lambda: not refused())
    server("delete", "namespace", namespace, "--wait=false")


def test_other_namespaces_are_deleted_as_ever(server, namespace):
    server("delete", "namespace", namespace, "--wait=false")
    assert server.get("namespace", namespace)["status"]["phase"] == "Terminating"


def test_uninstalling_leaves_the_clusters_and_installing_again_finds_them(server, namespace):
    create(server, sample("left", namespace))
    uid = server.get("peersdbcluster", "left", "-n", namespace)["metadata"]["uid"]
    # The namespace would stay Terminating here, where no controller empties it; all else goes as it would.
    gone = server("delete", "-k", DEPLOY / "operator", "--dry-run=server", "-o", "name").stdout.splitlines()
    assert f"customresourcedefinition.apiextensions.k8s.io/{DEFINITION}" not in gone
    assert "namespace/peersdb-system" in gone
    # Whoever takes the whole install away by mistake is stopped at the definition.
    mistaken = server("delete", "-k", DEPLOY, "--dry-run=server", check=False)
    assert "peersdb.io/allow-deletion=true" in mistaken.stderr
    assert server.get("peersdbcluster", "left", "-n", namespace)["metadata"]["uid"] == uid
    refused = server("delete", "crd", DEFINITION, "--dry-run=server", check=False)
    assert "(Forbidden)" in refused.stderr
    server("annotate", "crd", DEFINITION, "peersdb.io/allow-deletion=true")
    server("delete", "crd", DEFINITION, "--dry-run=server")
    server("annotate", "crd", DEFINITION, "peersdb.io/allow-deletion-")


@pytest.mark.slow
def test_policies_whose_definition_was_never_there_hold_no_namespace(tmp_path):
    other = ApiServer(tmp_path)
    canary = json.dumps({"apiVersion": "v1", "kind": "List", "items": CANARY})
    try:
        other.start()
        other("apply", "-k", DEPLOY / "operator")
        other("apply", "-f", "-", stdin=canary)
        eventually(lambda: other("create", "namespace", "canary", "--dry-run=server", check=False).returncode)
        other("create", "namespace", "empty")
        other("delete", "namespace", "empty", "--wait=false")
        assert other.get("namespace", "empty")["status"]["phase"] == "Terminating"
    finally:
        other.stop()


def test_policies_whose_definition_is_gone_hold_no_namespace(server, namespace):
    """The last test: the definition goes for good."""
    create(server, sample("kept", namespace, deletionProtection=True))
    delete = ("delete", "namespace", namespace, "--wait=false")
    eventually(lambda: server(*delete, "--dry-run=server", check=False).returncode)
    server("annotate", "crd", DEFINITION, "peersdb.io/allow-deletion=true")
    server("delete", "crd", DEFINITION)
    eventually(lambda: not server(*delete, check=False).returncode)
    assert server.get("namespace", namespace)["status"]["phase"] == "Terminating"
