"""What benchmarks break on purpose, and that it is taken back on every exit."""

import contextlib

import pytest
from aiohttp import web
from api_benchmark import benchmark, field
from api_support import manifest, until

from peersdb_operator.kube.kinds import BENCHMARK, CLUSTER, POD, STATEFUL_SET

FAST = {"interval": "3s", "duration": "2s"}


@contextlib.asynccontextmanager
async def members(connected):
    """The members' HTTP API on loopback: their peers are those of other regions while ``connected()``."""

    async def status(_request):
        peers = [{"peerId": "other", "region": "eu"}] if connected() else []
        return web.json_response(
            {"peerId": "own", "entries": 1, "storeAddress": "/orbitdb/x", "peers": peers}
        )

    app = web.Application()
    app.router.add_get("/peersdb/status", status)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def begun(it, **spec):
    await it.put(benchmark(**spec))
    await it.reason("Started", "Begun")
    it.master.runs(wants={"fault": True})


async def ended(it):
    it.master.ends()
    await until(lambda: it.master.collected, "the master may end")
    await it.end_load()
    status = await it.phase("Succeeded")
    await it.taken_back()
    return status


@pytest.mark.slow
def test_churn_takes_members_in_turn_and_waits_until_each_is_back(api):
    async def scenario():
        async with field(api) as it:
            await begun(it, profile="churn", faults=FAST)
            before = {pod["metadata"]["uid"] for pod in await api.all(POD)}
            await until(lambda: len(it.master.told("back")) >= 2, "two members are back")
            assert [event["members"][0]["name"] for event in it.master.told("deleted")[:2]] == [
                "eu-0",
                "us-0",
            ]
            kinds = [event["kind"] for event in it.master.events]
            assert kinds[:4] == ["deleted", "back", "deleted", "back"]
            it.master.runs(wants=None)
            status = await ended(it)
            assert "fault" not in status
            roots = [pod for pod in await api.all(POD) if pod["metadata"]["name"] == "demo-root-0"]
            assert roots[0]["metadata"]["uid"] in before

    api.run(scenario)


def test_a_partition_is_told_once_it_holds_and_healed_after_its_time(api):
    async def scenario():
        connected = True
        async with members(lambda: connected) as port:
            demo = manifest({"eu": 1, "us": 1}, network={"httpPort": port})
            async with field(api, demo) as it:
                whole = (await it.policy())["spec"]
                await begun(it, profile="partition", faults={"interval": "40s", "duration": "2s"})
                await until(lambda: it.policy("demo-cut-inside"), "the region is cut off")
                assert (await it.status())["fault"]["targets"] == ["us-0"]
                narrowed = (await it.policy())["spec"]["ingress"]
                assert [rule["ports"][0]["port"] for rule in narrowed] == [port]
                assert it.master.told("cut") == []
                connected = False
                await until(lambda: it.master.told("cut"), "the cut is told")
                it.master.runs(wants=None)
                await until(lambda: it.master.told("healed"), "it is healed")
                assert (await it.policy())["spec"] == whole
                cut, healed = it.master.told("cut")[0], it.master.told("healed")[0]
                assert 2 <= healed["at"] - cut["at"] < 10
                assert cut["region"] == "us"
                await ended(it)

    api.run(scenario)


@pytest.mark.slow
def test_a_cut_that_does_not_hold_is_helped_by_replacing_the_regions_pods_once(api):
    async def scenario():
        uids = {}
        async with members(lambda: not uids.get("replaced")) as port:
            demo = manifest({"eu": 1, "us": 1}, network={"httpPort": port})
            async with field(api, demo) as it:
                first = (await api.get(POD, "demo-us-0"))["metadata"]["uid"]
                others = {
                    name: (await api.get(POD, name))["metadata"]["uid"]
                    for name in ("demo-eu-0", "demo-root-0")
                }
                await begun(it, profile="partition", faults={"interval": "40s", "duration": "2s"})

                async def replaced():
                    pods = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in await api.all(POD)}
                    return pods.get("demo-us-0", first) != first

                await until(replaced, "the pod is another one")
                uids["replaced"] = True
                await until(lambda: it.master.told("healed"), "it was cut off and healed")
                for name, uid in others.items():
                    assert (await api.get(POD, name))["metadata"]["uid"] == uid
                await ended(it)

    api.run(scenario)


@pytest.mark.parametrize(
    "how",
    [
        "restarted",
        *(
            pytest.param(how, marks=pytest.mark.slow)
            for how in ("deleted", "master dies", "killed at the cut")
        ),
    ],
)
def test_a_partition_is_healed_however_the_run_ends(api, how):
    async def scenario():
        async with members(lambda: False) as port:
            demo = manifest({"eu": 1, "us": 1}, network={"httpPort": port})
            async with field(api, demo) as it:
                whole = (await it.policy())["spec"]
                await begun(it, profile="partition", faults={"interval": "2h", "duration": "1h"})
                await until(lambda: it.master.told("cut"), "the region is cut off")
                if how == "deleted":
                    found = await api.get(BENCHMARK, "run")
                    await api.kube.delete(BENCHMARK, api.namespace, "run", found["metadata"]["uid"])
                    it.operator.benchmarks.add((api.namespace, "run"))
                elif how == "master dies":
                    (pod,) = await until(lambda: it.pods(part="master"), "the master runs")
                    await it.end_pod(pod["metadata"]["name"], 137, "killed")
                    await it.reason("Complete", "MasterLost")
                elif how == "restarted":
                    await it.restart()
                    await until(lambda: _reconciled(it), "the cluster was looked at")
                    assert await it.policy("demo-cut-inside")  # it is still wanted
                    it.master.runs(done=1.0)
                    await ended(it)
                else:
                    await it.stop()
                    found = await api.get(BENCHMARK, "run")
                    await api.kube.delete(BENCHMARK, api.namespace, "run", found["metadata"]["uid"])
                    await it.start()

                async def healed():
                    gone = (
                        await it.policy("demo-cut-inside") is None
                        and await it.policy("demo-cut-outside") is None
                    )
                    return gone and (await it.policy())["spec"] == whole

                await until(healed, "the cluster is whole")

    api.run(scenario)


def _reconciled(it):
    value = it.operator.metrics.registry.get_sample_value(
        "peersdb_operator_reconciles_total", {"result": "ok"}
    )
    return (value or 0) >= 6


@pytest.mark.slow
def test_newcomers_come_wave_by_wave_and_go_with_the_run_and_the_cluster_does_not_count_them(api):
    async def scenario():
        async with field(api) as it:
            await it.put(benchmark(profile="bootstrap", newcomers={"perWave": 2, "waves": 3}, runTime="60s"))
            await it.reason("Started", "Begun")
            it.master.runs(wants={"wave": 1})
            await until(lambda: it.master.told("wave"), "the first wave is told")
            assert await _newcomers(api) == {"demo-eu-new": 2}
            assert (await it.status())["newcomers"] == 2
            told = it.master.told("wave")[0]
            assert [member["http"] for member in told["members"]] == [
                "http://demo-eu-new-0.demo-eu-new:8080", "http://demo-eu-new-1.demo-eu-new:8080",
            ]  # fmt: skip
            it.master.runs(wants={"wave": 3})
            await until(lambda: len(it.master.told("wave")) == 2, "the last wave is told")
            assert await _newcomers(api) == {"demo-eu-new": 4, "demo-us-new": 2}
            await it.restart()
            cluster = (await api.get(CLUSTER, "demo"))["status"]
            assert (cluster["replicas"], cluster["regionSummary"]) == (3, "eu 1/1, us 1/1")
            await it.restart()
            assert await _newcomers(api) == {"demo-eu-new": 4, "demo-us-new": 2}
            status = await ended(it)
            assert await _newcomers(api) == {}
            assert "newcomers" not in status or "newcomers" not in await it.status()

    api.run(scenario)


async def _newcomers(api):
    return {
        found["metadata"]["name"]: found["spec"]["replicas"]
        for found in await api.all(STATEFUL_SET, "peersdb.io/benchmark=run")
        if "deletionTimestamp" not in found["metadata"]
    }
