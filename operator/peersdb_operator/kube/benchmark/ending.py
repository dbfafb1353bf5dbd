"""The end of a run: its results are kept, and all that was made for it is taken back."""

from __future__ import annotations

from peersdb_operator import names
from peersdb_operator.benchmark import Benchmark
from peersdb_operator.errors import Conflict, NotFound
from peersdb_operator.kube.benchmark import faults, naming, objects
from peersdb_operator.kube.benchmark.observed import Observed
from peersdb_operator.kube.benchmark.results import Outcome
from peersdb_operator.kube.benchmark.tools import Tools
from peersdb_operator.kube.cache import Key
from peersdb_operator.kube.kinds import (
    CONFIG_MAP,
    JOB,
    NETWORK_POLICY,
    POD,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Kind,
    Object,
    controller_of,
    name_of,
)

#: Seconds that load pods get to end by themselves after a run that came to its end.
EXIT_GRACE = 30.0

_AT_ONCE = (STATEFUL_SET,)
_WITH_PODS = (SERVICE, NETWORK_POLICY, SECRET, CONFIG_MAP)


async def keep(tools: Tools, key: Key, benchmark: Benchmark, uid: str, outcome: Outcome) -> Object:
    """Keep the results where the manifest wants them; gives what the status says of them.

    Raises:
        Conflict: somebody else has a ConfigMap of that name.
    """
    files = {"files": list(outcome.files), "omitted": list(outcome.omitted)}
    if outcome.claim:
        return {"persistentVolumeClaim": benchmark.results_claim, **files}
    wanted = objects.results_map(benchmark, dict(outcome.data), dict(outcome.binary))
    wanted = objects.owned(wanted, benchmark, uid)
    try:
        await tools.kube.create(CONFIG_MAP, wanted)
    except Conflict:
        live = await tools.kube.get(CONFIG_MAP, key[0], name_of(wanted))
        if (controller_of(live) or {}).get("uid") != uid:
            raise Conflict(f"ConfigMap {name_of(wanted)} is not this benchmark's: remove it") from None
        await tools.kube.apply(CONFIG_MAP, wanted)
    return {"configMap": name_of(wanted), **files}


async def take_back(
    tools: Tools, key: Key, uid: str, cluster: str, observed: Observed, *, grace: float
) -> dict[str, bool]:
    """Take back what a run made, step by step; gives what is still there, all False once nothing is.

    Args:
        tools: to work with.
        key: of the benchmark.
        uid: of its resource.
        cluster: the name of its cluster.
        observed: its Jobs and pods.
        grace: seconds that its load pods still have to end by themselves.
    """
    tools.cuts.heal(key)
    for kind in _AT_ONCE:
        for obj in await _own(tools, key, uid, kind):
            await tools.kube.delete(kind, key[0], name_of(obj), obj["metadata"]["uid"])
    working = [job for job in observed.jobs.values() if not job["status"]["ended"]]
    if grace <= 0:
        for job in working:
            if not job["spec"]["suspend"]:
                # Its pods end, and those that have ended stay for their logs.
                await _suspend(tools, key, job)
    busy = any(job["status"]["active"] or not job["spec"]["suspend"] for job in working)
    if not busy:
        for kind in _WITH_PODS:
            for obj in await _own(tools, key, uid, kind):
                if name_of(obj) != naming.results(key[1]):
                    await tools.kube.delete(kind, key[0], name_of(obj), obj["metadata"]["uid"])
    newcomers = any(
        (pod["metadata"].get("labels") or {}).get(names.ROLE_LABEL) == naming.NEWCOMER_ROLE
        for pod in tools.cache.of_cluster(POD, key)
    )
    cut = await faults.still_cut(tools, key[0], cluster)
    return {"pods": busy, "newcomers": newcomers, "fault": cut}


async def _suspend(tools: Tools, key: Key, job: Object) -> None:
    patch: Object = {"metadata": {"uid": job["metadata"]["uid"]}, "spec": {"suspend": True}}
    try:
        tools.cache.put(JOB, await tools.kube.merge(JOB, key[0], name_of(job), patch))
    except (NotFound, Conflict):
        return


async def _own(tools: Tools, key: Key, uid: str, kind: Kind) -> list[Object]:
    selector = f"{names.BENCHMARK_LABEL}={key[1]}"
    found = []
    async for items, _ in tools.kube.pages(kind, key[0], selector):
        found += [
            item
            for item in items
            if (controller_of(item) or {}).get("uid") == uid and "deletionTimestamp" not in item["metadata"]
        ]
    return found
