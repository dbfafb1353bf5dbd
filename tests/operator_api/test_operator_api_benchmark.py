"""A benchmark from apply to its end, and each way in which it can go wrong."""

import asyncio
import base64
import gzip
import json

import pytest
from api_benchmark import benchmark, field
from api_master import SUMMARY
from api_support import manifest, until

from peersdb_operator.kube.kinds import BENCHMARK, CLUSTER, CONFIG_MAP, POD


def test_a_benchmark_runs_by_itself_and_its_results_are_kept(api):
    async def scenario():
        async with field(api) as it:
            await it.put(benchmark(thresholds=[{"metric": "replication.p99", "max": "500ms"}]))
            await it.reason("Started", "Begun")
            jobs = {name for kind, name in await it.made() if kind == "Job"}
            assert jobs == {"run-master", "run-worker-eu", "run-worker-us"}
            it.master.token = await it.token()
            it.master.runs()
            status = await until(lambda: _progress(it, "37 %"), "progress is shown")
            assert (status["stage"], status["requests"], status["users"]) == ("repeat 1/1", 810, 6)
            assert status["summary"]["replicationP99"] == "40.0ms"
            it.master.ends()
            await until(lambda: it.master.collected, "the master may end")
            await it.end_load()
            status = await it.phase("Succeeded")
            assert status["summary"] == {
                "requestsPerSecond": "120.5/s",
                "postP50": "4.2ms",
                "replicationP99": "31.3ms",
                "joinMax": "4.50s",
                "failures": "0 of 810",
            }
            assert status["thresholds"] == [
                {"metric": "replication.p99", "limit": "500ms", "value": "31.3ms", "passed": True}
            ]
            assert await it.condition("ThresholdsMet") == ("True", "AllMet", "1 of 1 thresholds are kept")
            assert (status["progress"], status["results"]["omitted"]) == ("100 %", ["plots/cdf.png"])
            kept = await api.get(CONFIG_MAP, "run-results")
            assert json.loads(kept["data"]["summary.json"]) == SUMMARY
            packed = base64.b64decode(kept["binaryData"]["samples.csv.gz"])
            assert gzip.decompress(packed) == it.master.files["samples.csv"]
            await it.taken_back()
            assert await _quiet(it)

    api.run(scenario)


async def _progress(it, text):
    status = await it.status()
    return status if status.get("progress") == text else None


async def _quiet(it):
    """Whether nothing is written once everything is taken back."""
    before = len(it.wrote)
    await asyncio.sleep(2)
    return len(it.wrote) == before


async def _begun(it, **spec):
    await it.put(benchmark(**spec))
    await it.reason("Started", "Begun")
    it.master.runs()


async def _ended(it, phase="Succeeded", **end):
    it.master.ends(**end)
    await until(lambda: it.master.collected, "the master may end")
    await it.end_load()
    status = await it.phase(phase)
    await it.taken_back()
    return status


def test_a_threshold_that_is_missed_fails_the_benchmark_and_its_results_are_there(api):
    missed = {**SUMMARY, "thresholds": [{**SUMMARY["thresholds"][0], "passed": False}]}

    async def scenario():
        async with field(api) as it:
            await _begun(it)
            status = await _ended(it, "Failed", passed=False, summary=missed)
            assert status["results"]["configMap"] == "run-results"
            _, reason, message = await it.condition("Complete")
            assert (reason, message) == ("ThresholdsMissed", "replication.p99 is 31.3ms, wanted 500ms")
            assert (await it.condition("ThresholdsMet"))[:2] == ("False", "Missed")

    api.run(scenario)


def test_a_worker_that_is_killed_is_named_and_the_run_counts_as_failed_with_its_results(api):
    async def scenario():
        async with field(api) as it:
            await _begun(it)
            pod = (await until(lambda: it.pods(part="worker"), "a worker runs"))[0]["metadata"]["name"]
            await it.end_pod(pod, 137, "out of memory")
            _, _, message = await it.reason("Degraded", "WorkerLost")
            assert pod in message
            assert "out of memory" in message
            status = await _ended(it, "Failed")
            assert status["results"]["files"]
            assert (await it.condition("Complete"))[1] == "WorkerLost"

    api.run(scenario)


@pytest.mark.slow
def test_a_master_that_dies_fails_the_run_and_no_pod_goes_on(api):
    async def scenario():
        async with field(api) as it:
            await _begun(it)
            (pod,) = await until(lambda: it.pods(part="master"), "the master runs")
            await it.end_pod(pod["metadata"]["name"], 1, "no space left")
            status = await it.phase("Failed")
            _, reason, message = await it.condition("Complete")
            assert reason == "MasterLost"
            assert "no space left" in message
            assert "summary" not in status
            await it.taken_back()
            assert {one["metadata"]["name"] for one in await it.pods()} <= {pod["metadata"]["name"]}

    api.run(scenario)


def test_the_oldest_has_the_cluster_and_the_next_follows_by_itself(api):
    async def scenario():
        async with field(api) as it:
            await _begun(it)
            await it.put(benchmark("second"))
            assert "PeersDBBenchmark run" in (await it.reason("Complete", "ClusterBusy", "second"))[2]
            assert await it.made("second") == {}
            await _ended(it)
            await it.reason("Started", "Begun", "second")

    api.run(scenario)


@pytest.mark.slow
def test_a_run_waits_for_its_cluster_and_fails_when_it_is_deleted(api):
    async def scenario():
        async with field(api) as it:
            await it.put(benchmark(cluster="other"))
            await it.reason("Complete", "ClusterNotFound")
            it.play = False
            await api.put(manifest({"eu": 1}, name="other"))
            await it.reason("Complete", "ClusterNotReady")
            it.play = True
            await it.reason("Started", "Begun")
            it.master.runs()
            found = await api.get(CLUSTER, "other")
            await api.kube.delete(CLUSTER, api.namespace, "other", found["metadata"]["uid"])
            await it.phase("Failed")
            assert (await it.condition("Complete"))[1] == "ClusterGone"

    api.run(scenario)


def test_what_the_cluster_cannot_do_is_refused_with_what_to_do(api):
    closed = manifest({"eu": 1, "us": 1}, network={"networkPolicy": {"enabled": False}})

    async def scenario():
        async with field(api, closed) as it:
            await it.put(benchmark("cut", "partition"))
            await it.phase("Failed", "cut")
            _, reason, message = await it.condition("Complete", "cut")
            assert reason == "Refused"
            assert "spec.network.networkPolicy.enabled: true" in message
            assert await it.made("cut") == {}

    api.run(scenario)


@pytest.mark.slow
def test_an_operator_that_starts_anew_in_any_phase_brings_the_run_to_the_same_end(api):
    async def scenario():
        async with field(api) as it:
            await it.put(benchmark(ttlSecondsAfterFinished=20))
            await it.restart()
            await it.phase("Running")
            await it.restart()
            await it.reason("Started", "Begun")
            it.master.runs()
            await until(lambda: _progress(it, "37 %"), "progress is shown")
            await it.restart()
            it.master.ends()
            await it.phase("Collecting")
            await it.restart()
            await until(lambda: it.master.collected, "the master may end")
            await it.restart()
            await it.end_load()
            assert (await it.phase("Succeeded"))["summary"]["postP50"] == "4.2ms"
            await it.restart()
            await it.taken_back()
            await until(lambda: _gone(api), "its time is over", 60)

    api.run(scenario)


async def _gone(api):
    return not await api.all(BENCHMARK)


@pytest.mark.slow
def test_a_run_that_is_deleted_leaves_nothing(api):
    async def scenario():
        async with field(api) as it:
            await _begun(it)
            found = await api.get(BENCHMARK, "run")
            await api.kube.delete(BENCHMARK, api.namespace, "run", found["metadata"]["uid"])
            it.operator.benchmarks.add((api.namespace, "run"))

            async def nothing():
                return not await it.made()

            await until(nothing, "everything went with it")
            assert len(await api.all(POD, "app.kubernetes.io/instance=demo")) == 3

    api.run(scenario)
