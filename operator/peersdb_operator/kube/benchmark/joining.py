"""The waves of newcomers under `bootstrap`, raised when the load test waits for one."""

from __future__ import annotations

from peersdb_operator.errors import NotFound
from peersdb_operator.kube.benchmark import newcomers, spread
from peersdb_operator.kube.benchmark.faults import Write
from peersdb_operator.kube.benchmark.tools import Run, Tools
from peersdb_operator.kube.kinds import BY_NAME, Object, controller_of, name_of


async def step(tools: Tools, run: Run, *, wanted: int, write: Write) -> None:
    """Raise the newcomers of the wave that is wanted, unless they are.

    Args:
        tools: to work with.
        run: the run; its fields are set.
        wanted: the number of the wave that the load test waits for; 0: none.
        write: called before anything is made.
    """
    wave = max(int(run.status.get("wave", 0)), min(wanted, run.benchmark.newcomers.waves))
    if wave in (0, run.memory.wave):
        return
    counts = spread.newcomers_so_far(run.cluster, run.benchmark, wave)
    run.fields |= {"wave": wave, "newcomers": sum(counts.values())}
    await write()
    for obj in newcomers.build(run.cluster, run.benchmark, run.uid, wave):
        taken = await _taken(tools, obj, run.uid)
        if taken:
            run.troubles.append(("NameTaken", taken))
            return
        await tools.kube.apply(BY_NAME[obj["kind"]], obj)
    run.memory.wave = wave
    members = spread.newcomer_targets(run.cluster, run.benchmark, wave)
    event = {"kind": "wave", "at": tools.environment.now(), "wave": wave, "members": members}
    regions = sorted({member["region"] for member in members})
    if len(regions) == 1:
        event["region"] = regions[0]
    tools.watcher.tell(run.key, event)


async def _taken(tools: Tools, obj: Object, uid: str) -> str:
    """Say that a name is somebody else's; empty where it is free or ours."""
    kind = BY_NAME[obj["kind"]]
    try:
        live = await tools.kube.get(kind, obj["metadata"]["namespace"], name_of(obj))
    except NotFound:
        return ""
    if (controller_of(live) or {}).get("uid") == uid:
        return ""
    return (
        f"{kind.kind} {name_of(obj)} exists and is not this benchmark's: wait until it is gone, or remove it"
    )
