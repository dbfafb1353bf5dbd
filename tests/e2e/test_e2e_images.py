"""The images hold what they run and nothing else, and run under the strictest rules that Kubernetes has."""

import json
import re
import tarfile
import tomllib
from pathlib import Path

import pytest

from cluster import project_images
from cluster.commands import wait_for
from cluster.errors import CommandFailed
from e2e_pods import Pods

#: The restricted Pod Security standard, and a root file system that cannot be written.
POD_SECURITY = {"runAsNonRoot": True, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
PROGRAMS = {"node": "peersdb", "operator": "peersdb-operator", "loadtests": "peersdb-loadtest"}
#: A program that builds or installs programs.
BUILDERS = ("pip", "pip3", "cc", "gcc", "g++", "make", "go", "uv")


@pytest.fixture(scope="module")
def pods(kubectl, shared_namespace, tools):
    kubectl("label", "namespace", shared_namespace, "pod-security.kubernetes.io/enforce=restricted")
    return Pods(kubectl, shared_namespace, tools)


def start(pods, name, image, *, command=(), probe=None, **variables):
    container = {
        "name": "c",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": key, "value": value} for key, value in variables.items()],
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
        **({"command": list(command)} if command else {}),
        **(
            {"readinessProbe": {"httpGet": {"path": probe, "port": 8080}, "periodSeconds": 1}}
            if probe
            else {}
        ),
    }
    spec = {
        "containers": [container],
        "securityContext": POD_SECURITY,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 5,
        "volumes": [{"name": "data", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
    }
    pods.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
    pods.wait(name)
    return name


@pytest.fixture(scope="module")
def node(pods, images):
    """A node as the original's container is told to be a root."""
    return start(pods, "node", images["node"], probe="/healthz", ROOT="true", REGION="eu")


@pytest.fixture(scope="module")
def operator(pods, images):
    return start(pods, "operator", images["operator"], command=["sleep", "3600"])


@pytest.fixture(scope="module")
def loadtests(pods, images):
    return start(pods, "loadtests", images["loadtests"], command=["sleep", "3600"])


def test_load_tests_start_on_a_read_only_file_system_and_can_draw(pods, loadtests):
    pods.run(loadtests, "peersdb-loadtest", "--version")
    pods.run(
        loadtests, "python3", "-c", "import matplotlib.pyplot as p; p.plot([1]); p.savefig('/tmp/a.svg')"
    )


def test_a_node_answers_on_all_interfaces_and_knows_the_originals_variables(pods, node, images):
    status = json.loads(pods.run(node, "peersdb", "status", "--json"))
    assert status["region"] == "eu"
    assert status["storeAddress"]
    joined = start(pods, "joined", images["node"], probe="/readyz", ROOTIP=pods.address(node), REGION="us")
    assert (
        json.loads(pods.run(joined, "peersdb", "status", "--json"))["storeAddress"] == status["storeAddress"]
    )


@pytest.mark.parametrize("name", ["node", "operator", "loadtests"])
def test_it_is_not_root_and_can_write_its_volumes_alone(pods, name, request):
    pod = request.getfixturevalue(name)
    assert pods.run(pod, "id", "-u") == "65532\n"
    pods.run(pod, "sh", "-c", "touch /tmp/file")
    with pytest.raises(CommandFailed, match="Read-only file system"):
        pods.run(pod, "touch", "/opt/peersdb/file")


@pytest.mark.parametrize("name", ["node", "operator", "loadtests"])
def test_nothing_that_builds_or_installs_is_left(pods, name, request):
    pod = request.getfixturevalue(name)
    looked = "; ".join(f"command -v {program} || true" for program in BUILDERS)
    assert pods.run(pod, "sh", "-c", looked) == ""
    for module in ("pip", "ensurepip._bundled", "setuptools", "hatchling", "cyclonedx"):
        with pytest.raises(CommandFailed, match="ModuleNotFoundError"):
            pods.run(pod, "python3", "-c", f"import {module}")


@pytest.mark.parametrize(
    ("name", "has", "has_not"),
    [
        ("node", ["peersdb", "libp2p"], ["peersdb_operator", "kopf", "kubernetes", "loadtests", "locust"]),
        ("operator", ["peersdb_operator", "kopf"], ["peersdb", "libp2p", "loadtests", "locust"]),
        (
            "loadtests",
            ["loadtests", "locust", "matplotlib"],
            ["peersdb", "libp2p", "peersdb_operator", "kopf"],
        ),
    ],
)
def test_each_has_its_own_part_of_the_project(pods, name, has, has_not, request):
    pod = request.getfixturevalue(name)
    for module in has:
        pods.run(pod, "python3", "-c", f"import {module}")
    for module in has_not:
        with pytest.raises(CommandFailed, match="ModuleNotFoundError"):
            pods.run(pod, "python3", "-c", f"import {module}")
    programs = pods.run(pod, "sh", "-c", "ls /opt/peersdb/bin").split()
    assert [program for program in programs if not program.startswith("python")] == [PROGRAMS[name]]


def test_the_operator_has_the_definition_of_its_resource(pods, operator):
    assert "peersdbclusters.peersdb.io" in pods.run(operator, "peersdb-operator", "crd")


@pytest.mark.parametrize("name", ["node", "operator", "loadtests"])
def test_the_list_of_contents_names_every_package_in_its_version(pods, name, request):
    pod = request.getfixturevalue(name)
    bill = json.loads(pods.run(pod, "cat", f"/usr/share/sbom/peersdb-{name}.cdx.json"))
    assert bill["bomFormat"] == "CycloneDX"
    listed = {(canonical(part["name"]), part["version"]) for part in bill["components"]}
    listing = "import importlib.metadata as m; print(*{f'{d.name} {d.version}' for d in m.distributions()}, sep='\\n')"
    installed = {
        (canonical(line.split()[0]), line.split()[1])
        for line in pods.run(pod, "python3", "-c", listing).splitlines()
    }
    own = ("peersdb", project_images.version())
    assert own in installed
    assert listed == installed - {own}
    assert (bill["metadata"]["component"]["name"], bill["metadata"]["component"]["version"]) == own


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", ["node", "operator", "loadtests"])
def test_the_image_says_what_it_is(harness, name):
    if harness is None:
        pytest.skip("the harness reads its own archives of the images")
    configuration = configuration_of(project_images.build(name))["config"]
    labels = {
        key.removeprefix("org.opencontainers.image."): value for key, value in configuration["Labels"].items()
    }
    assert labels["licenses"] == "GPL-3.0-or-later"
    assert labels["version"] == project_images.version()
    assert re.fullmatch("[0-9a-f]{40}|", labels["revision"])
    assert labels["title"] == f"PeersDB {name}"
    assert configuration["User"] == "65532:65532"
    assert configuration["Entrypoint"] == [PROGRAMS[name]]
    assert (configuration.get("Cmd") or []) == {"operator": ["run"]}.get(name, [])


def configuration_of(archive: Path):
    with tarfile.open(archive) as image:
        manifest = json.load(image.extractfile("manifest.json"))
        return json.load(image.extractfile(manifest[0]["Config"]))


def test_a_new_version_of_the_project_is_a_small_layer(harness):
    """The packages have a layer of their own, which a cluster and a registry already have."""
    if harness is None:
        pytest.skip("the harness reads its own archives of the images")
    for name in project_images.IMAGES:
        with tarfile.open(project_images.build(name)) as image:
            layers = [
                image.getmember(layer).size
                for layer in json.load(image.extractfile("manifest.json"))[0]["Layers"]
                if image.getmember(layer).isfile()
            ]
        big = [size for size in layers if size > 5_000_000]
        assert len(big) == 2, f"{name}: the base and the packages, not {layers}"


def test_the_dockerfiles_default_to_the_projects_version():
    version = tomllib.loads((project_images.ROOT / "pyproject.toml").read_text())["project"]["version"]
    for name, (dockerfile, *_) in project_images.IMAGES.items():
        text = (project_images.ROOT / dockerfile).read_text()
        assert f"ARG VERSION={version}\n" in text
        assert f"-t {project_images.reference(name)} ." in text


def test_a_healthy_node_says_so_by_http(pods, node):
    ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/healthz').status)"
    assert wait_for(lambda: pods.run(node, "python3", "-c", ask), "an answer", 30) == "200\n"
