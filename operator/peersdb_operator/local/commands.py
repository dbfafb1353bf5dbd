"""What a user asks of a local cluster: up, scale, status, logs, down."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from peersdb_operator.cluster import Cluster, check_change, from_object
from peersdb_operator.errors import LocalError, ManifestError, NoCluster, UsageError
from peersdb_operator.local import launch
from peersdb_operator.local.logfile import follow, tail
from peersdb_operator.local.process import identify
from peersdb_operator.local.progress import Progress
from peersdb_operator.local.state import Desired, StateDir, scaled
from peersdb_operator.members import of_cluster
from peersdb_operator.status import Observation, status

MOST_MEMBERS = 100
"""Members of one machine: an idle node takes about 115 MB, so this is 12 GB."""

_IGNORED: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "spec.image": lambda spec: "image" in spec,
    "spec.regionLabelKey": lambda spec: "regionLabelKey" in spec,
    "spec.storage": lambda spec: "storage" in spec,
    "nodeSelector": lambda spec: _any_group_has(spec, "nodeSelector"),
    "tolerations": lambda spec: _any_group_has(spec, "tolerations"),
    "storage of groups": lambda spec: _any_group_has(spec, "storage"),
    "affinity": lambda spec: _any_group_has(spec, "affinity"),
    "resources": lambda spec: _any_group_has(spec, "resources"),
    "paused of regions": lambda spec: _any_group_has(spec, "paused"),
    "spec.network.networkPolicy": lambda spec: "networkPolicy" in spec.get("network", {}),
    "spec.network.ipFamilyPolicy": lambda spec: "ipFamilyPolicy" in spec.get("network", {}),
    "spec.security": lambda spec: "security" in spec,
    "spec.scaleDown": lambda spec: "scaleDown" in spec,
    "spec.deletionProtection": lambda spec: "deletionProtection" in spec,
}
"""What a manifest may say that means nothing on one machine: how to name it, and whether a spec says it."""


def default_base(environment: Mapping[str, str] = os.environ) -> Path:
    """Give the directory of all local clusters of the user."""
    home = environment.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "peersdb"


def find(directory: Path | None, name: str | None) -> StateDir:
    """Find a cluster that was started: by its directory, its name, or as the only one.

    Raises:
        NoCluster: there is none.
        UsageError: there are several.
    """
    if directory is not None:
        return StateDir(directory.absolute())
    base = default_base()
    if name is not None:
        return StateDir(base / name)
    known = [path.parent.name for path in sorted(base.glob("*/cluster.json"))]
    if not known:
        raise NoCluster(
            "no cluster was started here: start one with `peersdb-operator local up -f FILE`, or give --dir"
        )
    if len(known) > 1:
        raise UsageError(f"there are several clusters: say which by --cluster {'|'.join(known)}")
    return StateDir(base / known[0])


def ignored_fields(manifest: Mapping[str, Any]) -> list[str]:
    """Name the fields of a manifest, as it was written, that mean nothing on one machine."""
    return [name for name, said in _IGNORED.items() if said(manifest["spec"])]


def up(
    cluster: Cluster,
    *,
    directory: Path | None,
    node_command: Sequence[str],
    timeout: float,
    foreground: bool,
    console: Console,
) -> dict[str, Any]:
    """Make the machine what a manifest says, and wait until all is ready.

    Interrupted, it takes back what it did: a cluster that ran is asked to be as before, one that did not is
    ended.

    Args:
        cluster: the manifest.
        directory: the cluster's, or None for the default.
        node_command: the program of a node; empty for the one installed here.
        timeout: seconds.
        foreground: whether to stay, and to end the cluster at the end.
        console: for progress.

    Returns:
        what was last seen.

    Raises:
        ManifestError: the change is not allowed.
        NotReady: it did not come up (in time).
        LocalError: it cannot be run here.
    """
    command = launch.node_command(node_command)
    state = StateDir(directory.absolute() if directory else default_base() / cluster.name)
    state.create()
    with state.lock_commands():
        before = state.desired() if state.exists() else None
        if before is not None:
            _check_successor(cluster, before, state)
        after = _next(before, cluster, command)
        fields = ignored_fields(cluster.written)
        if fields:
            console.print(Text(f"no meaning on one machine, ignored: {', '.join(fields)}"), soft_wrap=True)
        view = _carry_out(state, before, after, timeout, console)
    if foreground:
        _stay(state, console)
    return view


def scale(
    state: StateDir, replicas: Mapping[str, int], *, timeout: float, console: Console
) -> dict[str, Any]:
    """Give regions other numbers of replicas until the next `up`; data directories are kept.

    Raises:
        NoCluster: it does not run.
        UsageError: there is no such region, or the number is not allowed.
        NotReady: it did not come up (in time).
    """
    with _existing(state).lock_commands():
        before = state.desired()
        if state.supervisor() is None and not launch.running_members(state):
            raise NoCluster("the cluster is down: start it with `peersdb-operator local up -f FILE`")
        regions = [region["name"] for region in before.manifest["spec"]["regions"]]
        for region in replicas:
            if region not in regions:
                raise UsageError(f"there is no region {region!r}: one of {', '.join(regions) or 'none'}")
        wanted = {**before.scale, **replicas}
        try:
            cluster = from_object(scaled(before.manifest, wanted))
        except ManifestError as error:
            raise UsageError("; ".join(str(fault) for fault in error.faults)) from error
        _check_size(cluster)
        if cluster.paused:
            raise UsageError(
                "spec.paused is true: set it to false and run `peersdb-operator local up -f FILE` first"
            )
        after = replace(
            before,
            generation=before.generation + 1,
            revision=before.revision + 1,
            scale=wanted,
            applied=scaled(before.manifest, wanted),
        )
        return _carry_out(state, before, after, timeout, console)


def look(state: StateDir) -> dict[str, Any]:
    """Give the status; of a cluster without a supervisor, what its processes tell.

    Raises:
        NoCluster: nothing was ever started here.
    """
    desired = _existing(state).desired()
    seen = state.status()
    if seen is not None and state.supervisor() is not None:
        return _with_warning(seen)
    memory = state.memory()
    cluster = desired.wanted()
    running = set(launch.running_members(state))
    reason = (
        "not supervised: `peersdb-operator local up -f FILE` takes it over again"
        if running
        else "the cluster is down"
    )
    observations = [
        Observation(
            name=member.name,
            group=member.group.name,
            is_root=member.is_root,
            ready=False,
            moving=False,
            reason=reason,
            address=f"127.0.0.1:{memory.members[member.name].http_port}"
            if member.name in memory.members
            else "",
        )
        for member in of_cluster(cluster)
    ]
    value = status(
        cluster,
        observations,
        generation=desired.generation,
        store_address=memory.store,
        previous=seen["status"] if seen else {},
        now=time.time(),
    )
    if not running:
        value["phase"] = "Down"
    rows = [
        {
            "name": name,
            "state": "Running" if name in running else "Stopped",
            "pid": record.process.pid if record.process and name in running else None,
            "http": f"http://127.0.0.1:{record.http_port}",
            "reason": reason,
            "restarts": record.restarts,
            "log": str(state.log(name)),
        }
        for name, record in sorted(memory.members.items())
    ]
    return {
        "apiVersion": desired.manifest["apiVersion"],
        "kind": desired.manifest["kind"],
        "metadata": {"name": cluster.name, "generation": desired.generation},
        "status": value,
        "local": {"directory": str(state.path), "supervisor": None, "trouble": "", "members": rows},
    }


def _with_warning(seen: dict[str, Any]) -> dict[str, Any]:
    """Say so if what the supervisor wrote is contradicted by the processes: on a full disk it cannot write."""
    pids = {member["name"]: member["pid"] for member in seen["local"]["members"] if member["pid"]}
    gone = sorted(name for name, pid in pids.items() if not ((found := identify(pid)) and found.alive()))
    if gone and not seen["local"]["trouble"]:
        text = f"{', '.join(gone)} ended since this was written; if this stays, the disk may be full"
        return {**seen, "local": {**seen["local"], "trouble": text}}
    return seen


def down(state: StateDir, *, delete_data: bool) -> int:
    """End all processes of a cluster; data stays unless it is to be deleted.

    Returns:
        how many processes had to be killed.

    Raises:
        LocalError: something cannot be ended or deleted.
    """
    with _existing(state).lock_commands():
        killed = launch.stop_all(state)
        left = launch.running_members(state)
        if left:
            raise LocalError(
                f"still running: {', '.join(left)}; end them by hand: {state.path}/members.json has their ids"
            )
        state.remove_status()
        if delete_data:
            state.delete()
    return len(killed)


def logs(
    state: StateDir, member: str, *, lines: int, following: bool, write: Callable[[str], object]
) -> None:
    """Write the end of a member's log (or the supervisor's), and what is added to it for as long as asked.

    Raises:
        UsageError: there is no such member.
    """
    path = state.supervisor_log if member == "supervisor" else _existing(state).log(member)
    if not path.exists():
        known = sorted(entry.parent.name for entry in state.path.glob("members/*/log"))
        raise UsageError(f"there is no log of {member!r}: one of {', '.join([*known, 'supervisor'])}")
    for line in tail(path, lines):
        write(f"{line}\n")
    if following:
        for text in follow(path):
            write(text)


def _existing(state: StateDir) -> StateDir:
    if not state.exists():
        raise NoCluster(
            f"no cluster was started in {state.path}: start one with `peersdb-operator local up -f FILE`"
        )
    return state


def _check_successor(cluster: Cluster, before: Desired, state: StateDir) -> None:
    old = from_object(before.manifest)
    if old.name != cluster.name:
        raise UsageError(
            f"{state.path} is the directory of cluster {old.name!r}: give --dir another for {cluster.name!r}"
        )
    check_change(cluster, old)


def _next(before: Desired | None, cluster: Cluster, command: tuple[str, ...]) -> Desired:
    """Make what should be of the manifest; of the same generation if nothing differs."""
    _check_size(cluster)
    written = cluster.written
    applied = written if not cluster.paused else before.applied if before else None
    if before is None:
        return Desired(1, 1, written, {}, command, applied)
    same = replace(before, manifest=written, scale={}, node_command=command, applied=applied)
    generation = before.generation if same == before else before.generation + 1
    return replace(same, generation=generation, revision=before.revision + 1)


def _check_size(cluster: Cluster) -> None:
    count = len(of_cluster(cluster))
    if count > MOST_MEMBERS:
        raise UsageError(
            f"{count} members are too many for one machine: at most {MOST_MEMBERS}, use Kubernetes for more"
        )


def _carry_out(
    state: StateDir, before: Desired | None, after: Desired, timeout: float, console: Console
) -> dict[str, Any]:
    ran = state.supervisor() is not None or bool(launch.running_members(state))
    try:
        state.write_desired(after)
        launch.ensure_supervisor(state)
        with Progress(console) as progress:
            return launch.wait_ready(state, after.revision, timeout, progress.show)
    except KeyboardInterrupt:
        _take_back(state, before, after, ran=ran, console=console)
        raise


def _take_back(
    state: StateDir, before: Desired | None, after: Desired, *, ran: bool, console: Console
) -> None:
    """Undo an interrupted change."""
    if ran and before is not None:
        console.print("interrupted: the cluster is asked to be as before")
        state.write_desired(replace(before, generation=after.generation + 1, revision=after.revision + 1))
    else:
        console.print("interrupted: ending what was started")
        launch.stop_all(state)
        state.remove_status()


def _stay(state: StateDir, console: Console) -> None:
    """Wait until interrupted or until the supervisor is gone, then end the cluster."""
    try:
        console.print("running; Ctrl-C ends it")  # in here: it may come as soon as this is read
        while state.supervisor() is not None:
            time.sleep(0.2)
        console.print("the supervisor ended")
    except KeyboardInterrupt:
        console.print("ending")
    with state.lock_commands():
        launch.stop_all(state)
        state.remove_status()


def _any_group_has(spec: Mapping[str, Any], field: str) -> bool:
    return any(field in group for group in (spec["root"], *spec["regions"]))
