"""The supervisor: makes the processes of this machine what ``cluster.json`` says, and keeps them so.

Level-triggered: each tick looks at what runs, compares it with what should, and does what is due; nothing
depends on how it came to be so. A tick never waits. The supervisor may be killed at any moment: nodes live
on, and the next one finds them by what it reads in ``members.json`` or, if that was not yet written, by their
``-repo`` flag.
"""

from __future__ import annotations

import asyncio
import logging
import logging.handlers
import os
import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peersdb_operator import plan
from peersdb_operator.cluster import Cluster, from_object
from peersdb_operator.errors import OperatorError, PortError, StateError
from peersdb_operator.local import ports, probe, process
from peersdb_operator.local.logfile import last_line, trim
from peersdb_operator.local.node import Node, backoff
from peersdb_operator.local.state import Desired, Memory, Record, StateDir
from peersdb_operator.local.view import HOST, view
from peersdb_operator.members import Member, node_arguments, of_cluster

TICK_SECONDS = 0.1
"""How soon an end or a change is seen; a tick over 100 members reads 100 small files of /proc."""

PROBE_SECONDS = 0.25
"""Between two questions to a node that is not ready."""

PROBE_READY_SECONDS = 1.0
"""Between two questions to a node that is ready."""

TRIM_SECONDS = 30.0
"""Between two looks at the sizes of the logs."""

MOST_HELPERS = 4
"""Members that a first root which comes back is told to call on; one that answers is enough."""

_log = logging.getLogger("peersdb_operator.supervisor")


@dataclass(slots=True)
class Supervisor:
    """Runs one cluster.

    Attributes:
        state: the cluster's directory.
        random: where jitter comes from.
    """

    state: StateDir
    random: random.Random
    _memory: Memory = field(init=False)
    _desired: Desired = field(init=False)
    _wanted: Cluster = field(init=False)
    _cluster: Cluster | None = field(init=False, default=None)
    _members: tuple[Member, ...] = field(init=False, default=())
    _stamp: tuple[int, int] = field(init=False, default=(0, 0))
    _nodes: dict[str, Node] = field(init=False, default_factory=dict)
    _unwritten: bool = field(init=False, default=False)
    _published: dict[str, Any] = field(init=False, default_factory=dict)
    _trim_at: float = field(init=False, default=0.0)
    _complaint: str = field(init=False, default="")

    async def run(self, stop: asyncio.Event) -> None:
        """Supervise until told to stop; the nodes go on."""
        self._memory = self.state.memory()
        self._nodes = {name: Node(record) for name, record in self._memory.members.items()}
        self._reload()
        self._adopt()
        while not stop.is_set():
            if not self.state.path.exists():
                self._abandon()
                return
            self._tick(time.monotonic())
            try:
                await asyncio.wait_for(stop.wait(), TICK_SECONDS)
            except TimeoutError:
                continue
        for node in self._nodes.values():
            if node.asking is not None:
                node.asking.cancel()

    def _abandon(self) -> None:
        """End the nodes of a cluster whose directory was deleted: no command could ever reach them again."""
        process.end([node.record.process for node in self._nodes.values() if node.record.process is not None])

    # What should be.

    def _reload(self) -> None:
        """Read ``cluster.json`` if it was written since."""
        stamp = self.state.desired_stamp()
        if stamp == self._stamp:
            return
        self._desired = self.state.desired()
        self._wanted = self._desired.wanted()
        self._stamp = stamp
        applied = self._desired.applied
        self._cluster = from_object(applied) if applied is not None else None
        self._members = of_cluster(self._cluster) if self._cluster is not None else ()
        base = (self._cluster.http_port, self._cluster.libp2p_port) if self._cluster is not None else None
        if base is not None and base != self._memory.ports:
            # Other ports are asked for: choose all anew.
            self._memory.ports = base
            for node in self._nodes.values():
                node.record.http_port = node.record.p2p_port = 0
        for member in self._members:
            if member.name not in self._nodes:
                record = Record(0, 0)
                self._nodes[member.name] = Node(record)
                self._memory.members[member.name] = record
        for node in self._nodes.values():  # a command is a reason to try at once
            node.start_at = 0.0
            node.failures = 0
            node.trouble = ""
        self._unwritten = True
        _log.info("generation %d: %d members", self._desired.generation, len(self._members))

    def _templates(self, now: float) -> dict[str, tuple[str, ...]]:
        """Give the command line that each member should run by, the store's address left out."""
        if self._cluster is None:
            return {}
        taken = {
            port for node in self._nodes.values() for port in (node.record.http_port, node.record.p2p_port)
        }
        for member in self._members:
            self._give_ports(self._nodes[member.name], taken, now)
        roots = [member for member in self._members if member.is_root]
        addresses = [f"{HOST}:{self._nodes[root.name].record.http_port}" for root in roots]
        return {member.name: self._template(self._cluster, member, addresses) for member in self._members}

    def _give_ports(self, node: Node, taken: set[int], now: float) -> None:
        """Choose ports for a member that has none, or that is to start again and whose port somebody else took."""
        if self._cluster is None:
            return
        record = node.record
        down = record.process is None and node.failures > 0 and now >= node.start_at
        for kind, first in (("http_port", self._cluster.http_port), ("p2p_port", self._cluster.libp2p_port)):
            port = getattr(record, kind)
            if port and not (down and not ports.is_free(port)):
                continue
            chosen = ports.choose(first, taken)
            taken.add(chosen)
            setattr(record, kind, chosen)
            self._unwritten = True

    def _template(self, cluster: Cluster, member: Member, roots: list[str]) -> tuple[str, ...]:
        # Peers join through all roots, the other roots through the first, which joins through nobody.
        bootstrap = roots if not member.is_root else roots[:1] if member.index else []
        record = self._nodes[member.name].record
        return (
            *self._desired.node_command,
            *node_arguments(
                cluster,
                member.group,
                host=HOST,
                http_port=record.http_port,
                libp2p_port=record.p2p_port,
                repo=str(self.state.repo(member.name)),
                downloads=f"{self.state.member_dir(member.name) / 'downloads'}/",
                bootstrap=bootstrap,
            ),
        )

    # What is.

    def _adopt(self) -> None:
        """Find the nodes of a supervisor before this one."""
        for name, node in self._nodes.items():
            if node.record.process is not None and node.record.process.alive():
                _log.info("adopted %s, process %d", name, node.record.process.pid)
            else:
                node.record.process = None
        lost = {
            self.state.repo(name): node for name, node in self._nodes.items() if node.record.process is None
        }
        for path, (found, line) in process.holding(lost).items():
            without_store = line[: line.index("-store")] if "-store" in line else line
            record = lost[path].record
            record.process, record.template = found, without_store
            record.http_port, record.p2p_port = _port(record, "-http-port"), _port(record, "-ipfs-port")
            _log.info("found process %d on %s", found.pid, path)
        self._unwritten = True

    def _observe(self, now: float) -> None:
        for name, node in self._nodes.items():
            if node.record.process is None:
                continue
            if node.ended:
                self._ended(name, node, node.child.poll() if node.child is not None else None, now)
            elif node.asking is not None and node.asking.done():
                self._heard(name, node, node.asking.result(), now)
                node.asking = None
            elif node.asking is None and now >= node.ask_at:
                node.asking = asyncio.create_task(probe.ask(HOST, _port(node.record, "-http-port")))

    def _ended(self, name: str, node: Node, code: int | None, now: float) -> None:
        expected = node.stopping is not None
        if node.asking is not None:
            node.asking.cancel()
        was_ready = node.ready
        node.record.process = node.child = node.answer = node.asking = node.stopping = None
        self._unwritten = True
        if expected:
            _log.info("%s stopped", name)
            return
        node.failures = 1 if was_ready else node.failures + 1
        node.record.restarts += 1
        how = (
            "ended"
            if code is None
            else f"ended with code {code}"
            if code >= 0
            else f"was killed by signal {-code}"
        )
        # One that was killed had no last word.
        line = last_line(self.state.log(name)) if code is None or code > 0 else ""
        node.trouble = f"{how} ({line})" if line else how
        node.start_at = now + backoff(node.failures, self.random.random())
        _log.warning("%s %s; next start in %.1f s", name, node.trouble, node.start_at - now)

    def _heard(self, name: str, node: Node, answer: probe.Answer, now: float) -> None:
        running = node.record.process
        if running is None:
            return
        if answer.pid is not None and not process.in_session_of(answer.pid, running):
            answer = probe.Answer(
                ready=False, reason=f"its port is answered by process {answer.pid}, not by it"
            )
        if answer.ready and not node.ready:
            node.failures = 0
            node.trouble = ""
            _log.info("%s is ready", name)
            if not node.record.known:
                node.record.known = self._unwritten = True
        node.answer = answer
        node.ask_at = now + (PROBE_READY_SECONDS if answer.ready else PROBE_SECONDS)
        if answer.ready and answer.store and self._memory.store is None and "-root" in node.record.template:
            self._memory.store = answer.store
            self._unwritten = True
            _log.info("the store is %s", answer.store)

    # What to do.

    def _tick(self, now: float) -> None:
        try:
            self._reload()
            self._observe(now)
            templates = self._templates(now)
            self._complaint = ""
        except (StateError, PortError) as error:
            # Nothing is changed on bad ground; what runs goes on, and the next tick tries again.
            self._complain(str(error))
            templates = None
        if templates is not None:
            self._act(templates, now)
        if now >= self._trim_at:
            self._trim_at = now + TRIM_SECONDS
            self._trim()
        self._publish(templates or {})

    def _act(self, templates: dict[str, tuple[str, ...]], now: float) -> None:
        running = {
            name: node.record.template
            for name, node in self._nodes.items()
            if node.record.process is not None and node.stopping is None
        }
        changes = plan.diff(templates, running)
        standings = self._standings()
        for name in (*changes.stop, *plan.next_restart(changes.restart, standings)):
            self._stop(name, now)
        first_root = next((member.name for member in self._members if member.is_root), "")
        held = plan.held_back(standings, first_root, store_known=self._memory.store is not None)
        for name in changes.start:
            node = self._nodes[name]
            node.held = held.get(name, "")
            if node.record.process is None and not node.held and now >= node.start_at:
                self._start(name, node, templates[name], now)
        for node in self._nodes.values():
            late = node.stopping is not None and now - node.stopping > process.GRACE_SECONDS
            if late and not node.killed and node.record.process is not None:
                node.record.process.signal(signal.SIGKILL)
                node.killed = True

    def _standings(self) -> dict[str, plan.Standing]:
        return {
            member.name: plan.Standing(
                is_root=member.is_root, known=node.record.known, ready=node.ready, failing=node.failing
            )
            for member in self._members
            for node in (self._nodes[member.name],)
        }

    def _start(self, name: str, node: Node, template: tuple[str, ...], now: float) -> None:
        command = (*template, *self._hints(name, template))
        directory = self.state.member_dir(name)
        try:
            (directory / "downloads").mkdir(parents=True, exist_ok=True)
            child = process.start(command, self.state.log(name), directory)
        except OSError as error:
            node.failures += 1
            node.trouble = f"cannot be started: {error.strerror}: {error.filename}"
            node.start_at = now + backoff(node.failures, self.random.random())
            _log.warning("%s %s", name, node.trouble)
            return
        node.child = child
        node.record.process = process.identify(child.pid)
        node.record.template = template
        node.answer, node.ask_at, node.killed = None, now, False
        self._unwritten = True
        self._write()  # at once: what was started must be found again
        _log.info("started %s, process %d", name, child.pid)

    def _hints(self, name: str, template: tuple[str, ...]) -> tuple[str, ...]:
        """Give what a member is told beyond its template: where the log is, and who has it.

        The first root joins through nobody when the cluster is new. Later it may come back with an emptied disk,
        a stranger to the others, who wait for it under its old key: it has to call on them.
        """
        if self._memory.store is None:
            return ()
        hints = ("-store", self._memory.store)
        if "-bootstrap" in template:
            return hints
        running = [
            member.name
            for member in self._members
            if member.name != name and self._nodes[member.name].record.process is not None
        ]
        running.sort(key=lambda other: not self._nodes[other].ready)
        helpers = [
            f"{HOST}:{_port(self._nodes[other].record, '-http-port')}" for other in running[:MOST_HELPERS]
        ]
        return (*hints, "-bootstrap", ",".join(helpers)) if helpers else hints

    def _stop(self, name: str, now: float) -> None:
        node = self._nodes[name]
        if node.record.process is None or node.stopping is not None:
            return
        _log.info("stopping %s, process %d", name, node.record.process.pid)
        node.record.process.signal(signal.SIGTERM)
        node.stopping, node.start_at, node.failures = now, now, 0

    def _trim(self) -> None:
        for name in self._nodes:
            try:
                trim(self.state.log(name))
            except OSError as error:
                _log.warning("the log of %s cannot be trimmed: %s", name, error.strerror)

    # What to say.

    def _write(self) -> None:
        """Write what is remembered, if it changed; tried again with the next tick if the disk refuses."""
        if not self._unwritten:
            return
        try:
            self.state.write_memory(self._memory)
            self._unwritten = False
        except StateError as error:
            self._complain(str(error))

    def _complain(self, message: str) -> None:
        if message != self._complaint:
            _log.error("%s", message)
        self._complaint = message

    def _publish(self, templates: dict[str, tuple[str, ...]]) -> None:
        self._write()
        value = view(
            self.state,
            self._wanted,
            self._members,
            self._nodes,
            templates,
            generation=self._desired.generation,
            revision=self._desired.revision,
            store=self._memory.store,
            supervisor=os.getpid(),
            trouble=self._complaint,
            previous=self._published,
            now=time.time(),
        )
        if value == self._published:
            return
        try:
            self.state.write_status(value)
            self._published = value
        except StateError as error:
            self._complain(str(error))


def _port(record: Record, flag: str) -> int:
    """Give a port that a member's process listens on, which its template says: another may be chosen already."""
    template = record.template
    if flag in template[:-1] and (value := template[template.index(flag) + 1]).isdigit():
        return int(value)
    return record.http_port if flag == "-http-port" else record.p2p_port


async def _main(state: StateDir, ready: int | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    myself = process.identify(os.getpid())
    if myself is not None:
        state.write_supervisor(myself)
    if ready is not None:
        os.write(ready, b"ok")
        os.close(ready)
    await Supervisor(state, random.Random()).run(stop)  # noqa: S311 - jitter, no secret


def main(directory: Path, ready: int | None = None) -> int:
    """Supervise the cluster of a directory until SIGTERM.

    Args:
        directory: the cluster's.
        ready: a pipe that ``ok`` is written to once this is the only supervisor; the reader sees it end
            otherwise.
    """
    state = StateDir(directory)
    handler = logging.handlers.RotatingFileHandler(state.supervisor_log, maxBytes=1 << 20, backupCount=1)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    try:
        with state.lock_supervisor():
            asyncio.run(_main(state, ready))
    except OperatorError as error:
        _log.error("%s", error)
        return error.exit_code
    except Exception:
        _log.exception("the supervisor failed; the nodes go on")
        raise
    return 0
