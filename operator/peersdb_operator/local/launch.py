"""Starting and stopping the supervisor, and waiting for what it does."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from peersdb_operator.errors import LocalError, NodeCommandError, NotReady, StateError
from peersdb_operator.local import process
from peersdb_operator.local.logfile import tail
from peersdb_operator.local.process import ProcessId
from peersdb_operator.local.state import StateDir
from peersdb_operator.status import condition

GIVE_UP_FAILURES = 3
"""A member that ended so often in a row without having been ready will not come up by itself."""

TAIL_LINES = 15
_POLL_SECONDS = 0.1

View = dict[str, Any]


def node_command(given: Sequence[str]) -> tuple[str, ...]:
    """Give the program of a node with what comes before its flags.

    Args:
        given: the user's choice; empty for the node installed beside this program.

    Raises:
        NodeCommandError: there is no such program.
    """
    if not given:
        if importlib.util.find_spec("peersdb") is None:
            raise NodeCommandError(
                "the node is not installed here: install peersdb, or name it by --node-command"
            )
        return (sys.executable, "-P", "-m", "peersdb")  # -P: nothing is imported from where it runs
    found = shutil.which(given[0])
    if found is None:
        raise NodeCommandError(f"there is no program {given[0]!r}: give --node-command one that exists")
    return (str(Path(found).absolute()), *given[1:])


def ensure_supervisor(state: StateDir) -> bool:
    """Start the supervisor if none runs, and leave it behind.

    Returns:
        whether it was started now.

    Raises:
        LocalError: it did not start; with the end of its log.
    """
    if state.supervisor() is not None:
        return False
    reading, writing = os.pipe()
    try:
        with state.supervisor_log.open("ab") as log:
            subprocess.Popen(
                [sys.executable, "-P", "-m", "peersdb_operator", "supervise", str(state.path), str(writing)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=state.path,
                start_new_session=True,
                pass_fds=[writing],
            )
        os.close(writing)
        writing = -1
        said = os.read(reading, 2)  # ends when it is ready, or when it is gone
    except OSError as error:
        raise LocalError(f"the supervisor cannot be started: {error.strerror}") from error
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)
    if said != b"ok":
        raise LocalError(_with_tail("the supervisor did not start", state.supervisor_log))
    return True


def stop_all(state: StateDir) -> list[ProcessId]:
    """End the supervisor first, so that it starts nothing anew, then every member.

    Returns:
        those that had to be killed.
    """
    supervisor = state.supervisor()
    killed = process.end([supervisor]) if supervisor is not None else []
    processes = set(_recorded(state).values())
    processes |= {found for found, _ in process.holding(map(state.repo, _member_names(state))).values()}
    return killed + process.end(processes)


def running_members(state: StateDir) -> list[str]:
    """Name the members whose processes live, by what is written down."""
    return sorted(name for name, found in _recorded(state).items() if found.alive())


def _recorded(state: StateDir) -> dict[str, ProcessId]:
    """Give the processes that are written down; none if that is damaged: they are found by their repos then."""
    try:
        records = state.memory().members
    except StateError:
        return {}
    return {name: record.process for name, record in records.items() if record.process is not None}


def wait_ready(
    state: StateDir,
    revision: int,
    timeout: float,
    show: Callable[[View], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> View:
    """Wait until all members are ready and nothing is left to do.

    Args:
        state: the cluster's directory.
        revision: the command that the supervisor must have heard.
        timeout: seconds.
        show: called with each new view.
        clock: the monotonic clock.
        sleep: waits some seconds.

    Raises:
        NotReady: a member does not come up, the time is over or the supervisor ended; with the reason and the
            end of the log concerned.
    """
    deadline = clock() + timeout
    view: View = {}
    while True:
        found = state.status()
        if found is not None and found["local"]["revision"] >= revision:
            if found != view:
                view = found
                show(view)
            status = view["status"]
            paused = condition(status, "Paused")["status"] == "True"
            settled = condition(status, "Progressing")["status"] == "False" and not _leaving(view)
            if paused or (settled and condition(status, "Ready")["status"] == "True"):
                return view
            _give_up_on_failures(view)
        if state.supervisor() is None:
            raise NotReady(_with_tail("the supervisor ended", state.supervisor_log))
        if clock() >= deadline:
            raise NotReady(_late(view, timeout))
        sleep(_POLL_SECONDS)


def _leaving(view: View) -> bool:
    return any(member["state"] == "Stopping" for member in view["local"]["members"])


def _give_up_on_failures(view: View) -> None:
    for member in view["local"]["members"]:
        if member.get("failures", 0) >= GIVE_UP_FAILURES:
            raise NotReady(
                _with_tail(f"{member['name']} does not come up: {member['reason']}", Path(member["log"]))
            )


def _late(view: View, timeout: float) -> str:
    if not view:
        return f"the supervisor saw nothing in {timeout:g} s; see `peersdb-operator local logs supervisor`"
    if view["local"]["trouble"]:
        return f"not ready after {timeout:g} s: {view['local']['trouble']}"
    unready = [
        member for member in view["local"]["members"] if not member.get("ready", member["state"] == "Stopped")
    ]
    lines = [f"not ready after {timeout:g} s:"]
    lines += [f"  {member['name']}: {member.get('reason') or member['state']}" for member in unready]
    # Members that wait say nothing; the one they wait for does.
    talking = next((member for member in unready if member.get("pid")), None)
    text = "\n".join(lines)
    return _with_tail(text, Path(talking["log"])) if talking and "log" in talking else text


def _with_tail(message: str, log: Path) -> str:
    lines = tail(log, TAIL_LINES)
    if not lines:
        return message
    return "\n".join([message, f"the end of {log}:", *(f"  | {line}" for line in lines)])


def _member_names(state: StateDir) -> list[str]:
    """Name the members that ever had a directory."""
    with contextlib.suppress(FileNotFoundError):
        return [entry.name for entry in (state.path / "members").iterdir()]
    return []
