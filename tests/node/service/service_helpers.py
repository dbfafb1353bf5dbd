"""Whole nodes in one process, without HTTP: started, stopped, cut off and attacked by tests."""

import hashlib
import socket
from contextlib import asynccontextmanager
from itertools import count

import trio

from peersdb.core import wire
from peersdb.core.cid import CID, ipfs_path
from peersdb.core.clock import Clock
from peersdb.core.contribution import Contribution, format_timestamp
from peersdb.core.entry import add_payload, create_entry
from peersdb.core.identity import Signer
from peersdb.core.wire import SYNC_PROTOCOL, Entries, Hello
from peersdb.net.host import Host
from peersdb.service.environment import Environment
from peersdb.service.node import Node
from peersdb.settings import Settings

#: Nothing that a test waits for takes this long, also while other tests share the machine.
PATIENCE = 60.0


class Brisk(Environment):
    """Waits between rounds and retries are a tenth of the usual."""

    def jitter(self, seconds):
        return seconds * (0.1 + self.random.random() / 20)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def eventually(condition):
    """Waits for what nobody signals; ``condition`` may be async."""
    with trio.fail_after(PATIENCE):
        while True:
            result = condition()
            if hasattr(result, "__await__"):
                result = await result
            if result:
                return
            await trio.sleep(0.02)


class World:
    """The nodes of one test, by name; a name keeps its directory, port and (unless emptied) its key."""

    def __init__(self, path, nursery):
        self.path, self._nursery = path, nursery
        self._ports, self._running, self._generation = {}, {}, count()

    async def start(self, name, **options):
        port = self._ports.setdefault(name, free_port())
        options.setdefault("bootstrap", ())
        settings = Settings(
            repo=str(self.path / name / "repo"),
            download_dir=str(self.path / name / "downloads"),
            ipfs_port=port,
            **options,
        )
        (self.path / name).mkdir(exist_ok=True)
        return await self._nursery.start(self._run, name, settings)

    async def _run(self, name, settings, task_status):
        generation, calls = next(self._generation), count()

        def random(size):  # reproducible, but never the same twice
            return hashlib.sha256(f"{name} {generation} {next(calls)}".encode()).digest()[:size]

        stop, stopped = trio.Event(), trio.Event()
        try:
            async with Node.run(settings, Brisk(), random, "0") as node:
                self._running[name] = stop, stopped
                task_status.started(node)
                await stop.wait()
        finally:
            stopped.set()

    async def stop(self, *names):
        for name in names:
            stop, stopped = self._running.pop(name)
            stop.set()
            with trio.fail_after(PATIENCE):
                await stopped.wait()

    def port(self, name):
        return self._ports.setdefault(name, free_port())


@asynccontextmanager
async def world(path):
    async with trio.open_nursery() as nursery:
        made = World(path, nursery)
        yield made
        await made.stop(*made._running)


def address(node):
    return node.membership.addresses[0]


def number_of_entries(node):
    return node.replication.state_fingerprint.count


def same(*nodes):
    """Whether all hold the same log and the same set of entries."""
    states = {
        (node.replication.state.address, node.replication.state_fingerprint)
        if node.replication.state
        else None
        for node in nodes
    }
    return len(states) == 1 and None not in states


async def paths(node):
    rows, cursor = await node.contributions.page()
    while cursor is not None:
        more, cursor = await node.contributions.page(cursor)
        rows += more
    return [row.path for row in rows]


async def post(node, numbers, size=20):
    """Posts files, all at once; their paths."""
    found = []

    async def one(number):
        found.append(await node.contributions.post(number.to_bytes(4) * (size // 4)))

    async with trio.open_nursery() as nursery:
        for number in numbers:
            nursery.start_soon(one, number)
    return found


class Wire:
    """A TCP proxy in front of a node, which a test can cut."""

    def __init__(self, port, target):
        self.port, self._target, self._whole = port, target, True
        self._scopes = set()

    async def run(self, task_status):
        # The port stays bound while the wire is cut: who dials is refused by an immediate end.
        listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
        await trio.serve_listeners(self._serve, listeners, task_status=task_status)

    def cut(self):
        self._whole = False
        for scope in self._scopes:
            scope.cancel()

    def mend(self):
        self._whole = True

    async def _serve(self, client):
        if not self._whole:
            await trio.aclose_forcefully(client)
            return
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                async with (
                    await trio.open_tcp_stream("127.0.0.1", self._target) as server,
                    client,
                    trio.open_nursery() as nursery,
                ):
                    nursery.start_soon(self._pump, client, server, scope)
                    nursery.start_soon(self._pump, server, client, scope)
            except OSError:  # the node behind is not there
                await trio.aclose_forcefully(client)
            finally:
                self._scopes.discard(scope)

    @staticmethod
    async def _pump(source, target, scope):
        try:
            async for data in source:
                await target.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        scope.cancel()


class Chain:
    """A writer outside of any node, who can sign what it likes."""

    def __init__(self, number, log_id):
        self.signer, self.log_id = Signer.from_seed(bytes([number]) * 32), log_id
        self.entries = []

    def entry(self, *, parents=None, seq=None, previous=None, keep=True, **wrong):
        """The next entry of the chain; ``wrong`` replaces what it says."""
        number = len(self.entries) + 1
        if parents is None:
            parents = (self.entries[-1].hash,) if self.entries else ()
        seq = seq or number
        if seq > 1 and previous is None:
            previous = self.entries[-1].hash if self.entries else parents[0]
        contribution = Contribution(
            ipfs_path(CID.of(f"{self.signer.peer_id} {number} {seq}".encode())),
            wrong.get("contributor", self.signer.peer_id),
            wrong.get("creation_ts", format_timestamp(1)),
            None,
            None,
            seq,
            previous,
        )
        made = create_entry(
            self.signer,
            wrong.get("log_id", self.log_id),
            add_payload(contribution),
            Clock(wrong.get("clock_id", self.signer.key_hex), wrong.get("time", number)),
            tuple(parents),
        )
        if keep:
            self.entries.append(made)
        return made

    @property
    def identity(self):
        return self.signer.identity.bytes


def batch(chain, entries, *, live=False, seq=1):
    return Entries(
        tuple(getattr(entry, "data", entry) for entry in entries), (chain.identity,), live=live, seq=seq
    )


class Stranger:
    """A peer made of a host alone, which says what a test tells it to."""

    def __init__(self, number=66):
        self.signer = Signer.from_seed(bytes([number]) * 32)
        self.host = Host(self.signer)
        self.heard = []
        self.host.handle(SYNC_PROTOCOL, self._listen)
        self._stream = None

    async def _listen(self, stream):
        while True:
            self.heard.append(wire.decode(await stream.read_frame()))

    async def meet(self, node, hello=None):
        """Connects and says hello as a member of the node's cluster."""
        await self.host.dial(address(node))
        self._stream = await self.host.open(node.host.peer_id, SYNC_PROTOCOL)
        state = node.replication.state
        await self.say(hello or Hello(1, state.address, state.manifest, state.access, 0, bytes(32), b""))

    async def say(self, message):
        await self._stream.write_frame(message if isinstance(message, bytes) else wire.encode(message))

    def heard_of(self, kind):
        return [message for message in self.heard if isinstance(message, kind)]


@asynccontextmanager
async def stranger(number=66):
    made = Stranger(number)
    async with made.host.run("127.0.0.1", 0):
        yield made
