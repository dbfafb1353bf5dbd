"""docs/kubernetes.md: what it shows is there, and a real API server takes the commands as they are written.

Commands that need a running pod are left to the end-to-end tests.
"""

import json
import os
import re

import jsonschema
import pytest
import yaml
from deploy_apiserver import ApiServer, eventually
from deploy_files import CHART, DEPLOY, ROOT, documents, one, run, tool

from peersdb_operator import builders, cluster

TEXT = (ROOT / "docs" / "kubernetes.md").read_text()

#: kubectl where no controller and no kubelet is: what waits for one of them is passed over, and deletions do not wait.
KUBECTL = """#!/bin/sh
case "$1" in
exec | port-forward | wait | rollout) exit 0 ;;
delete) exec {kubectl} --kubeconfig {directory}/kubeconfig "$@" --wait=false ;;
*) exec {kubectl} --kubeconfig {directory}/kubeconfig "$@" ;;
esac
"""


def section(title):
    (found,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
    return found


def blocks(language, title):
    return re.findall(rf"```{language}\n(.*?)```", section(title), re.DOTALL)


@pytest.fixture
def shell(tmp_path):
    """Runs commands in the clone, with kubectl and helm led to a server of the test's own."""
    server = ApiServer(tmp_path)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "kubectl").write_text(KUBECTL.format(kubectl=server.kubectl, directory=tmp_path))
    (programs / "kubectl").chmod(0o755)
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
    }

    def call(script):
        return run("bash", "-euc", script, cwd=ROOT, env=environment).stdout

    try:
        server.start()
        call.server = server
        yield call
    finally:
        server.stop()


@pytest.mark.processes
def test_install_make_a_database_remove_it_uninstall(shell):
    for script in [*blocks("sh", "Install"), *blocks("sh", "A database")]:
        printed = shell(script)
    assert re.search(r"^NAME +READY +ROOT .*\nquickstart ", printed, re.MULTILINE)
    uninstall, delete, volumes, definition = blocks("sh", "Uninstall")
    shell(uninstall)
    assert one(shell.server.get("peersdbclusters", "-A")["items"], "PeersDBCluster", "quickstart")
    shell(delete + volumes)
    assert not shell.server.get("peersdbclusters", "-A")["items"]
    shell(definition)
    eventually(lambda: "peersdb" not in shell("kubectl get crd -o name"), "the definition is gone")


@pytest.mark.processes
def test_helm_installs_upgrades_and_uninstalls_and_chosen_namespaces_are_an_overlay(shell):
    tool("helm")
    for title in ("Helm", "Upgrade"):
        for script in blocks("sh", title):
            shell(script)
    values, *_ = blocks("yaml", "Helm")
    (shell.server.directory / "values.yaml").write_text(values)
    shell("kubectl create namespace datasets")
    chart = "helm upgrade peersdb-operator deploy/helm/peersdb-operator --namespace peersdb-system"
    shell(f"{chart} --values {shell.server.directory}/values.yaml")
    removed = re.search(r"`(helm uninstall [^`]*)`", section("Uninstall")).group(1)
    shell(removed)
    assert one(shell.server.get("peersdbclusters", "-n", "datasets")["items"], "PeersDBCluster")
    assert not shell.server.get("deployments", "-A")["items"]
    for script in blocks("sh", "Chosen namespaces only"):
        shell(script)
    can = ("auth", "can-i", "create", "statefulsets.apps")
    account = "peersdb-system:peersdb-operator"
    assert shell.server(*can, "-n", "datasets", account=account).stdout == "yes\n"
    assert shell.server(*can, "-n", "default", account=account, check=False).stdout == "no\n"
    assert "yes" in shell.server("auth", "can-i", "list", "nodes", account=account).stdout


def test_every_path_of_a_command_is_there():
    paths = re.findall(
        r"\b(?:deploy|crds)/[\w/.-]*", "\n".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL))
    )
    assert len(paths) > 8
    for path in paths:
        assert (ROOT / path).exists(), path


def test_every_link_leads_to_a_file_or_a_heading():
    headings = {
        re.sub(r"[^\w -]", "", title).lower().replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        if target.startswith("#"):
            assert target[1:] in headings
        elif not target.startswith("https://"):
            assert (ROOT / "docs" / target).exists(), target


def test_the_pods_and_services_that_are_named_are_those_of_the_quickstart():
    sample = cluster.read(DEPLOY / "samples" / "quickstart.yaml")
    built = builders.build(sample)
    services = {thing["metadata"]["name"] for thing in built if thing["kind"] == "Service"}
    pods = {
        f"{thing['metadata']['name']}-{number}"
        for thing in built
        if thing["kind"] == "StatefulSet"
        for number in range(thing["spec"]["replicas"])
    }
    named = set(re.findall(r"\bquickstart(?:-[a-z0-9]+)*\b(?!\.yaml|/)", TEXT)) - {"quickstart"}
    assert named <= services | pods
    assert len(named & pods) >= 4
    assert len(named & services) >= 3


def test_every_alert_is_explained():
    groups = yaml.safe_load((DEPLOY / "monitoring" / "alerts.yaml").read_text())["groups"]
    alerts = [rule["alert"] for group in groups for rule in group["rules"]]
    assert re.findall(r"^\| `(PeersDB\w+)` ", section("Monitoring"), re.MULTILINE) == alerts


def test_the_values_shown_are_values_of_the_chart():
    (values,) = blocks("yaml", "Helm")
    jsonschema.validate(yaml.safe_load(values), json.loads((CHART / "values.schema.json").read_text()))
    shown = set(re.findall(r"`((?:image|monitoring|userRoles|deletionProtection)\.\w+)`", TEXT))
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    for name in shown - {"image.digest"}:
        top, field = name.split(".")
        assert field in defaults[top], name
    assert "digest" in defaults["image"]


def test_the_overlay_shown_changes_the_image(tmp_path):
    (overlay,) = blocks("yaml", "Chosen namespaces only")
    (tmp_path / "peersdb").symlink_to(ROOT)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kustomization.yaml").write_text(overlay)
    objects = documents(run(tool("kubectl"), "kustomize", tmp_path / "mine").stdout)
    pod = one(objects, "Deployment")["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "registry.example.com/peersdb/operator:0.1.0"
