"""One corpus of manifests, one verdict: `peersdb-operator check` and a real API server with strict validation."""

import asyncio
import json
import re
from pathlib import Path

import pytest
from api_support import NAMESPACE, connect

from cluster.errors import CommandFailed
from peersdb_operator import manifests
from peersdb_operator.definition import API_VERSION, BENCHMARK
from peersdb_operator.errors import KubeError, ManifestError
from peersdb_operator.kube.kinds import CLUSTER, Kind

MEASURE = Kind(API_VERSION, BENCHMARK.kind, "peersdbbenchmarks")
CORPUS = Path(__file__).parents[1] / "operator" / "manifests"
SAMPLES = Path(__file__).parents[2] / "deploy" / "samples"
GOOD = [*sorted((CORPUS / "good").glob("*.yaml")), *sorted(SAMPLES.glob("*.yaml"))]
BAD = sorted((CORPUS / "bad").glob("*.yaml"))
#: Those that kubectl reads otherwise than the API server: it merges YAML's `<<`, takes the last of a key that is given
#: twice, and makes an object of each document.
READ_BY_KUBECTL = {"yaml-1.1", "key-twice", "two-documents"}
#: And so these are refused by `check` alone.
ONLY_CHECK = {"key-twice", "two-documents"}


@pytest.fixture(scope="module")
def verdicts(server):
    """What the API server says to each manifest, by file: "" where it takes it."""

    async def ask(kube, path):
        text = path.read_text()
        found = re.search(r"^ *namespace: *([-\w]+)|namespace: *([-\w]+)[,}]", text, re.MULTILINE)
        namespace = (found[1] or found[2]) if found else "corpus"
        kind = MEASURE if BENCHMARK.kind in text else CLUSTER
        query = {"dryRun": "All", "fieldValidation": "Strict"}
        try:
            await kube._request("POST", kind.path(namespace), query, body=text, content="application/yaml")
        except KubeError as error:
            return str(error)
        return ""

    async def everything():
        kube = await connect(server.kubeconfig)
        try:
            for name in ("corpus", "data", "datasets"):
                body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
                await kube.create(NAMESPACE, body)
            asked = [path for path in (*GOOD, *BAD) if path.stem not in READ_BY_KUBECTL]
            return {path: await ask(kube, path) for path in asked}
        finally:
            await kube.close()

    found = asyncio.run(everything())
    for path in (*GOOD, *BAD):
        if path.stem in READ_BY_KUBECTL:
            server.kubectl(
                "apply", "--dry-run=server", "--validate=strict", "--namespace=corpus", "-f", str(path)
            )
            found[path] = ""
    return found


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_both_take_a_good_manifest(verdicts, path):
    assert manifests.read(path)
    assert verdicts[path] == ""


def fields_of(path):
    """What `check` finds fault with."""
    with pytest.raises(ManifestError) as refused:
        manifests.read(path)
    return {fault.path for fault in refused.value.faults}


def named(answer):
    """The fields that the API server names, and whether it looked at all of them."""
    found = set(re.findall(r"unknown field \"([^\"]+)\"", answer))
    found |= set(re.findall(r"(?:^|[\[ ])((?:spec|metadata|kind)[^ :]*): (?:[A-Z][a-z]+ value|Too )", answer))
    whole = not found or ("unknown field" not in answer and "were not checked" not in answer)
    return found, whole


def is_within(field, faults):
    return any(field == fault or field.startswith((f"{fault}.", f"{fault}[")) for fault in faults)


@pytest.mark.parametrize(
    "path", [path for path in BAD if path.stem not in ONLY_CHECK], ids=lambda path: path.stem
)
def test_both_refuse_a_bad_manifest_and_name_the_field(verdicts, path):
    answer, faults = verdicts[path], fields_of(path)
    assert answer
    if "apiVersion" in faults:
        return  # of another version, the API server knows no field
    fields, whole = named(answer)
    assert [field for field in fields if not is_within(field, faults)] == []
    if answer.partition(": ")[2].startswith("422"):
        assert fields
        assert not whole or fields == faults
    else:  # it was not read as far as that, or has unknown fields, which are told alone
        assert answer.partition(": ")[2].startswith("400")
        assert fields or not any("unknown" in str(fault) for fault in faults)


@pytest.mark.parametrize("stem", sorted(ONLY_CHECK))
def test_what_only_check_refuses(verdicts, stem):
    path = CORPUS / "bad" / f"{stem}.yaml"
    assert fields_of(path)
    assert verdicts[path] == ""


def test_a_benchmark_is_immutable_once_it_has_started(server):
    name = "once"
    spec = {"clusterRef": {"name": "quickstart"}, "profile": "steady"}
    wanted = {"apiVersion": API_VERSION, "kind": BENCHMARK.kind, "metadata": {"name": name}, "spec": spec}

    def apply(**changes):
        text = json.dumps({**wanted, "spec": {**spec, **changes}})
        server.kubectl("apply", "--server-side", "--namespace=default", "-f", "-", stdin=text)

    apply()
    apply(users=7)
    status = json.dumps({"status": {"startTime": "2026-01-01T00:00:00Z", "phase": "Running"}})
    server.kubectl(
        "patch", "pdbb", name, "--namespace=default", "--subresource=status", "--type=merge", "-p", status
    )
    apply(users=7, profile="steady")  # says no more than before
    with pytest.raises(CommandFailed, match="the spec is immutable once the benchmark has started"):
        apply(users=8)
    kept = server.kubectl.json("get", "pdbb", name, "--namespace=default")
    assert (kept["spec"]["users"], kept["status"]["phase"]) == (7, "Running")
