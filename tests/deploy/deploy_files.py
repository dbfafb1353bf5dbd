"""The files under test, and the programs that read them as users do."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from cluster import versions

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "peersdb-operator"

#: How to get what a test needs and this machine lacks.
SOURCES = {
    "kubectl": "install kubectl, or let `make cluster-build` build it",
    "helm": "go install helm.sh/helm/v3/cmd/helm@v3.22.0",
    "promtool": "go install github.com/prometheus/prometheus/cmd/promtool@v0.316.0",
}


def tool(name):
    """Finds a program on the PATH or among those that the test cluster was built with; skips without it."""
    places = os.pathsep.join([os.environ["PATH"], str(versions.build_dir() / "bin")])
    found = shutil.which(name, path=places)
    if found is None:
        pytest.skip(f"needs {name}: {SOURCES[name]}")
    return found


def run(*command, stdin=None, check=True, **options):
    done = subprocess.run(
        [str(part) for part in command],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        **options,
    )
    assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def documents(text):
    return [document for document in yaml.safe_load_all(text) if document]


def in_file(path):
    return documents((DEPLOY / path).read_text())


def kustomized(folder):
    """What `kubectl apply -k` of a folder of the repository would apply."""
    return documents(run(tool("kubectl"), "kustomize", ROOT / folder).stdout)


def key(thing):
    return thing["kind"], thing["metadata"].get("namespace", ""), thing["metadata"]["name"]


def by_key(things):
    found = {key(thing): thing for thing in things}
    assert len(found) == len(things), "two objects of one name"
    return found


def one(things, kind, name=None):
    (found,) = [
        thing for thing in things if thing["kind"] == kind and name in (None, thing["metadata"]["name"])
    ]
    return found
