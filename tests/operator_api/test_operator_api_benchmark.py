"""A benchmark from apply to its end, and each way in which it can go wrong."""

import base64
import gzip
import json

import pytest
from api_benchmark import benchmark, field
from api_master import SUMMARY
from api_support import manifest, until

from peersdb_operator.errors import NotFound
from peersdb_operator.kube.kinds import BENCHMARK, CLUSTER, CONFIG_MAP, JOB, POD


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
    import asyncio

    before = len(it.wrote)
    await asyncio.sleep(2)
    return len(it.wrote) == before
