"""What a supervisor sees, in words: the resource's status and, beside it, the members as processes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from peersdb_operator import status
from peersdb_operator.cluster import Cluster
from peersdb_operator.definition import API_VERSION, CLUSTER
from peersdb_operator.local.node import Node
from peersdb_operator.local.state import StateDir
from peersdb_operator.members import Member

HOST = "127.0.0.1"
"""Where members listen: a cluster of one machine is nobody else's."""


def view(
    state: StateDir,
    cluster: Cluster,
    members: Sequence[Member],
    nodes: Mapping[str, Node],
    templates: Mapping[str, tuple[str, ...]],
    *,
    generation: int,
    revision: int,
    store: str | None,
    supervisor: int,
    trouble: str,
    previous: Mapping[str, Any],
    now: float,
) -> dict[str, Any]:
    """Make the content of ``status.json``.

    Args:
        state: the cluster's directory.
        cluster: the manifest that is asked for.
        members: those that should run.
        nodes: those and any that ran before, by name.
        templates: what each should run by.
        generation: the generation of the manifest.
        revision: the command that it was heard by.
        store: the store's address, if known.
        supervisor: its process id.
        trouble: what keeps it from its work.
        previous: the view before.
        now: seconds since the epoch.
    """
    leaving = sorted(nodes.keys() - {member.name for member in members})
    return {
        "apiVersion": API_VERSION,
        "kind": CLUSTER.kind,
        "metadata": {"name": cluster.name, "generation": generation},
        "status": status.status(
            cluster,
            [_observation(member, nodes[member.name], templates.get(member.name, ())) for member in members],
            generation=generation,
            store_address=store,
            previous=previous.get("status", {}),
            now=now,
        ),
        "local": {
            "directory": str(state.path),
            "supervisor": supervisor,
            "revision": revision,
            "trouble": trouble,
            "members": [_row(state, member, nodes[member.name]) for member in members]
            + [_leaving(name, nodes[name]) for name in leaving],
        },
    }


def _observation(member: Member, node: Node, template: tuple[str, ...]) -> status.Observation:
    outdated = node.record.process is not None and node.record.template != template
    return status.Observation(
        name=member.name,
        group=member.group.name,
        is_root=member.is_root,
        ready=node.ready,
        moving=outdated or node.stopping is not None or (not node.ready and not node.failures),
        reason=node.why() or ("waits to be restarted" if outdated else ""),
        address=f"{HOST}:{node.record.http_port}",
    )


def _row(state: StateDir, member: Member, node: Node) -> dict[str, Any]:
    return {
        "name": member.name,
        "role": "root" if member.is_root else "peer",
        "region": member.group.region,
        "state": node.word(),
        "reason": node.why(),
        "ready": node.ready,
        "pid": node.record.process.pid if node.record.process else None,
        "http": f"http://{HOST}:{node.record.http_port}",
        "p2p": f"/ip4/{HOST}/tcp/{node.record.p2p_port}",
        "restarts": node.record.restarts,
        "failures": node.failures,
        "entries": node.answer.entries if node.answer else None,
        "log": str(state.log(member.name)),
    }


def _leaving(name: str, node: Node) -> dict[str, Any]:
    """Describe a member that should be no more: gone, or about to go."""
    running = node.record.process
    return {
        "name": name,
        "state": "Stopping" if running else "Stopped",
        "pid": running.pid if running else None,
    }
