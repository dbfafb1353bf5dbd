"""Fixtures of the tests on a real Kubernetes: the harness's own cluster, or any that KUBECONFIG names.

Tests in ``test_e2e_*`` run when they are asked for by name (``make e2e``, ``pytest tests/e2e``), not in ``make test``;
those of the API server alone and of the harness's pure parts do run there.
"""

import contextlib
import os
import shutil
import uuid
from pathlib import Path

import pytest

from cluster import images as cluster_images
from cluster import project_images, teardown
from cluster.errors import CommandFailed, NoCluster, NotBuilt
from cluster.harness import Harness
from cluster.kubectl import Kubectl
from cluster.settings import CONSENT, Settings

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NOT_HERE = "only the harness's own cluster has this fault: PEERSDB_E2E=1 without KUBECONFIG"


def pytest_ignore_collect(collection_path, config):
    """Leave the tests that need a cluster out, unless the command line names this directory or what is in it."""
    if not collection_path.name.startswith("test_e2e_"):
        return None
    named = [config.invocation_params.dir / argument.partition("::")[0] for argument in config.args]
    return None if any(path.resolve().is_relative_to(HERE) for path in named) else True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Let fixtures see whether their test failed."""
    report = yield
    item.stash.setdefault(FAILED, False)
    item.stash[FAILED] |= report.failed
    return report


FAILED = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def harness():
    """The cluster on this machine, whose faults can be made here; None on another one.

    One that does not run is started, and stopped at the end; one that runs is left running.
    """
    settings = Settings.from_environment()
    given = os.environ.get("KUBECONFIG")
    if given and Path(given) != settings.kubeconfig:
        yield None
        return
    if os.environ.get(CONSENT) != "1":
        pytest.skip(f"neither KUBECONFIG nor {CONSENT}=1 is set: see docs/testing-on-a-cluster.md")
    try:
        Harness.attach(settings.state)
        ran = True
    except (NoCluster, NotBuilt):
        ran = False
    yield Harness.up(settings)
    if not ran:
        teardown.down(settings)


@pytest.fixture
def faults(harness):
    """The harness, for tests that break something; whatever they broke is mended after them."""
    if harness is None:
        pytest.skip(NOT_HERE)
    yield harness
    harness.heal()


@pytest.fixture(scope="session")
def kubeconfig(harness):
    """The path of an administrator's kubeconfig."""
    return harness.settings.kubeconfig if harness else Path(os.environ["KUBECONFIG"])


@pytest.fixture(scope="session")
def kubectl(harness, kubeconfig, tmp_path_factory):
    """Runs kubectl: ``kubectl("get", "pods")`` gives what it prints, ``.json(...)`` that parsed, ``.apply({...})``."""
    if harness:
        return harness.kubectl
    if shutil.which("kubectl") is None:
        pytest.skip("KUBECONFIG is set, but kubectl is not on the PATH")
    return Kubectl(kubeconfig, cache=tmp_path_factory.mktemp("kubectl"))


@pytest.fixture(scope="session")
def images(harness):
    """The names of the project's images, as manifests name them: ``node``, ``operator``.

    On another cluster they must be there already, or be named by PEERSDB_E2E_NODE_IMAGE and
    PEERSDB_E2E_OPERATOR_IMAGE.
    """
    return {
        name: project_images.reference(name)
        if harness
        else os.environ.get(f"PEERSDB_E2E_{name.upper()}_IMAGE", project_images.reference(name))
        for name in project_images.IMAGES
    }


@pytest.fixture(scope="session")
def tools(harness):
    """The name of an image with busybox; on another cluster PEERSDB_E2E_TOOLS_IMAGE, if it cannot pull busybox."""
    if harness:
        return cluster_images.TOOLS_IMAGE
    return os.environ.get("PEERSDB_E2E_TOOLS_IMAGE", "busybox:1.36")


@pytest.fixture(scope="session")
def regions(kubectl):
    """The regions that have nodes, in the order of their names; a test that needs more than there are is skipped."""
    label = "topology.kubernetes.io/region"
    nodes = kubectl.json("get", "nodes", "--selector=type!=kwok")["items"]
    found = sorted(
        {node["metadata"]["labels"][label] for node in nodes if label in node["metadata"]["labels"]}
    )
    if not found:
        pytest.skip(f"no node has the label {label}: see docs/testing-on-a-cluster.md")
    return found


@pytest.fixture(scope="session")
def installed(kubectl, images):
    """kubectl on a cluster with the operator, installed as docs/kubernetes.md says."""
    kubectl("apply", "-k", str(ROOT / "deploy"))
    for name in ("node", "operator"):
        if images[name] != project_images.reference(name):
            pytest.skip(
                f"the manifests name {project_images.reference(name)}: push or load it under that name"
            )
    kubectl("rollout", "status", "deployment/peersdb-operator", "-n", "peersdb-system", "--timeout=120s")
    return kubectl


@pytest.fixture(scope="module")
def peers_namespace(kubectl, request):
    """A namespace for a module's databases, in which nothing less than the restricted standard may run."""
    with namespace_of(kubectl, request) as name:
        kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
        yield name


@pytest.fixture
def measured(request):
    """Keeps a figure, which the summary at the end shows: ``measured("seconds to Ready", 12.3)``."""

    def keep(what, value):
        request.config.stash.setdefault(FIGURES, []).append(f"{request.node.name}: {what}: {value}")

    return keep


def pytest_terminal_summary(terminalreporter, config):
    """Show what was measured."""
    figures = config.stash.get(FIGURES, [])
    if figures:
        terminalreporter.section("measured")
        for line in figures:
            terminalreporter.write_line(line)


FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture
def namespace(kubectl, request):
    """A namespace for one test; what is in it goes with it."""
    with namespace_of(kubectl, request) as name:
        yield name


@pytest.fixture(scope="module")
def shared_namespace(kubectl, request):
    """A namespace for the tests of one module."""
    with namespace_of(kubectl, request) as name:
        yield name


@contextlib.contextmanager
def namespace_of(kubectl, request):
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    try:
        yield name
        if request.node.stash.get(FAILED, False):
            for what in ("pods -o wide", "events --sort-by=.lastTimestamp"):
                with contextlib.suppress(CommandFailed):
                    print(kubectl("get", *what.split(), f"--namespace={name}"))  # noqa: T201 - pytest shows it
    finally:
        kubectl("delete", "namespace", name, "--wait=false")
