"""What a run is made of and what its results become: laws of the pure parts."""

import gzip
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kube_support import UID, clusters, parsed

from peersdb_operator import benchmark, load, names
from peersdb_operator.kube.benchmark import faults, naming, newcomers, objects, results, spread, status
from peersdb_operator.kube.benchmark.control import read_progress


def run(profile="steady", name="run", **spec):
    value = {
        "apiVersion": "peersdb.io/v1alpha1",
        "kind": "PeersDBBenchmark",
        "metadata": {"name": name, "namespace": "data"},
        "spec": {"clusterRef": {"name": "demo"}, "profile": profile, **spec},
    }
    return benchmark.from_object(value)


def built(cluster, one):
    return objects.build(cluster, one, UID, "secret", "peersdb-system")


@given(clusters(), st.integers(0, 12))
def test_every_region_is_driven_by_somebody_and_workers_are_as_many_as_asked(cluster, wanted):
    groups = spread.workers(cluster, run(workers=wanted))
    regions = spread.regions(cluster, run())
    assert sum(group.count for group in groups) == (wanted or len(regions))
    assert sorted({region for group in groups for region in group.drives}) == sorted(regions)
    counts = [group.count for group in groups]
    assert max(counts) - min(counts) <= 1


@given(clusters(), st.integers(1, 4), st.integers(1, 5), st.sampled_from(["Region", "Spread"]))
def test_waves_add_newcomers_and_never_move_one(cluster, size, waves, order):
    one = run("bootstrap", newcomers={"perWave": size, "waves": waves, "order": order})
    seen = [found for wave in range(1, waves + 1) for found in spread.newcomers(cluster, one, wave)]
    assert len(seen) == len(set(seen)) == size * waves
    counts = spread.newcomers_so_far(cluster, one, waves)
    assert sorted((n.region, n.index) for n in seen) == sorted(
        (region, index) for region, count in counts.items() for index in range(count)
    )


@given(clusters())
def test_newcomers_are_nobodys_but_the_benchmarks(cluster):
    one = run("bootstrap", newcomers={"perWave": 3, "waves": 4})
    for obj in newcomers.build(cluster, one, UID, 4):
        labels = obj["metadata"]["labels"]
        assert labels[names.BENCHMARK_LABEL] == "run"
        assert not names.cluster_selector(cluster).items() <= labels.items()
        assert len(obj["metadata"]["name"]) <= 52
        if obj["kind"] == "StatefulSet":
            template = obj["spec"]["template"]
            assert obj["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
            assert not names.cluster_selector(cluster).items() <= template["metadata"]["labels"].items()
            assert "volumeClaimTemplates" not in obj["spec"]


@pytest.mark.parametrize(
    "dataset",
    [
        None,
        {"generated": {"files": 3, "size": "1Ki"}},
        {"configMap": {"name": "rows"}},
        {"persistentVolumeClaim": {"name": "rows", "path": "a/b"}},
        {"url": {"url": "https://example.org/rows.zip", "sha256": "0" * 64}},
    ],
)
def test_load_pods_keep_the_restricted_standard_and_have_no_token_of_the_api_server(dataset):
    one = run(**({"dataset": dataset} if dataset else {}), results={"persistentVolumeClaim": "kept"})
    jobs = [obj for obj in built(parsed({"eu": 1, "us": 2}), one) if obj["kind"] == "Job"]
    assert len(jobs) == 3
    for job in jobs:
        pod = job["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert (pod["restartPolicy"], job["spec"]["backoffLimitPerIndex"]) == ("Never", 0)
        assert pod["securityContext"]["runAsNonRoot"] is True
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in (*pod.get("initContainers", []), *pod["containers"]):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            assert not any("secret" in text for text in container["args"])


def test_what_the_master_and_the_workers_are_told():
    one = run(
        "bootstrap",
        matrix={"payloadSizes": ["1Ki", "64Ki"]},
        thresholds=[{"metric": "post.p99", "max": "1s"}],
    )
    jobs = {
        obj["metadata"]["name"]: obj for obj in built(parsed({"eu": 1, "us": 2}), one) if obj["kind"] == "Job"
    }
    pods = {name: job["spec"]["template"]["spec"] for name, job in jobs.items()}
    assert " ".join(pods["run-master"]["containers"][0]["args"]) == (
        "--headless --profile bootstrap --repeats 1 --users 6 --spawn-rate 6 --rate 2 --run-time 60s --warmup 5"
        ' --matrix {"payloadSizes": [1024, 65536]} --thresholds [{"metric": "post.p99", "max": "1s"}]'
        " --waves 1 --per-wave 6 --targets /etc/peersdb/targets/targets.json --master --expect-workers 2"
        " --worker-timeout 600 --control 0.0.0.0:8090 --control-token-file /etc/peersdb/control/token --report /results"
    )
    assert pods["run-worker-us"]["containers"][0]["args"][-5:] == [
        "--worker", "--master-host", "run-master", "--region", "us",
    ]  # fmt: skip
    assert pods["run-worker-us"]["nodeSelector"] == {"topology.kubernetes.io/region": "us"}


@given(clusters())
def test_a_cut_leaves_no_rule_that_lets_everybody_in(cluster):
    from peersdb_operator import builders

    policies = builders.network_policies(cluster, builders.Facts(cut="eu"))
    assert len(policies) == 3
    for policy in policies:
        for rule in policy["spec"]["ingress"]:
            assert rule["from"]
            assert rule["ports"]


@given(
    st.from_regex(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])", fullmatch=True),
    st.from_regex(r"[a-z0-9]{1,40}", fullmatch=True),
)
def test_names_of_jobs_leave_room_for_their_pods(name, region):
    assert len(naming.worker(name, region)) <= naming.MAX_JOB
    assert naming.worker(name, region) != naming.worker(name, region + "x")


def test_churn_goes_over_the_regions_in_turn_and_never_takes_the_last_root():
    cluster = parsed({"eu": 2, "us": 1})
    assert [load.victim(cluster, run("churn"), n).name for n in range(4)] == [
        "eu-0",
        "us-0",
        "eu-1",
        "us-0",
    ]
    assert "root-1" in {load.victim(parsed({"eu": 1}, roots=2), run("churn"), n).name for n in range(6)}
    assert faults.refusal(parsed({}), run("churn"))


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.text() | st.integers(), st.lists, max_leaves=3)
)
def test_whatever_a_master_says_is_progress_or_nothing(value):
    fields = ("state", "passed", "stage", "done", "users", "requests", "wants", "problems", "replication")
    progress = read_progress(dict.fromkeys(fields, value))
    assert 0 <= progress.done <= 1
    json.dumps(status.of_progress(progress))


def test_results_stop_at_the_budget_and_name_what_is_left_out():
    packer = results.Packer(budget=2000)
    packer.add("summary.json", b"{}")
    packer.add("report.html", b"a" * 100_000)
    packer.add("samples.csv", bytes(range(256)) * 20 + gzip.compress(b"x" * 10))
    packer.add("noise.bin", random.Random(1).randbytes(5000))
    outcome = packer.outcome({})
    assert outcome.data == {"summary.json": "{}"}
    assert gzip.decompress(outcome.binary["report.html.gz"]) == b"a" * 100_000
    assert outcome.omitted == ("noise.bin",)
    assert sum(map(len, outcome.binary.values())) <= 2000
