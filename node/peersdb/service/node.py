"""The node: its parts put together, started in order, stopped in order."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psutil
import structlog
import trio

from peersdb.core.entry import Entry
from peersdb.core.manifest import contributions_manifest, parse_address
from peersdb.core.reconcile import EMPTY
from peersdb.core.unixfs import PROFILES
from peersdb.core.wire import BENCHMARK_PROTOCOL, BenchmarkAnswer, BenchmarkRequest, Message
from peersdb.errors import InvalidCID, NotEnabled, PeersDBError, SettingsError
from peersdb.net.ask import ask, serve_answers
from peersdb.net.blocks import BlockServer
from peersdb.net.host import Host
from peersdb.net.private import fingerprint
from peersdb.net.sync import SyncLinks
from peersdb.service.arrivals import Arrivals
from peersdb.service.ballots import BallotBox
from peersdb.service.benchmark import Benchmark, decode_benchmark
from peersdb.service.bootstrap import addresses_of
from peersdb.service.changes import Changes
from peersdb.service.contributions import Contributions
from peersdb.service.environment import Environment
from peersdb.service.files import Files
from peersdb.service.healing import Healing
from peersdb.service.judging import Judge
from peersdb.service.members import Membership
from peersdb.service.providers import Providers
from peersdb.service.replication import Replication
from peersdb.service.sandboxed import open_validators, read_rules
from peersdb.service.unasked import Unasked
from peersdb.service.validation import ValidationService
from peersdb.settings import Settings
from peersdb.store.ballots import BallotStore
from peersdb.store.judged import JudgedContents
from peersdb.store.log import LogState, LogStore
from peersdb.store.repo import Repo
from peersdb.store.tables import Members, Pins, Validations
from peersdb.swarmkey import read_swarm_key
from peersdb.tokens import Tokens

log = structlog.get_logger("node")

#: A root with bootstrap peers asks them for so long (seconds) whether there is a log already.
ROOT_ASKS = 5.0
#: Peers asked for their benchmarks at once.
ASK_AT_ONCE = 16


class Node:
    """One running node; made by `Node.run`.

    Attributes:
        settings: what it was told.
        contributions: post, query, get.
        changes: what came since.
        replication: the log's state.
        membership: members and addresses.
        host: connections.
        tokens: those that the HTTP interface accepts; None: it asks for none.
    """

    def __init__(
        self,
        settings: Settings,
        repo: Repo,
        environment: Environment,
        version: str,
        swarm_key: bytes | None = None,
    ) -> None:
        """Puts the parts together; nothing runs yet."""
        self.settings, self._repo, self._environment, self._version = settings, repo, environment, version
        self._network = fingerprint(swarm_key) if swarm_key else None
        self._started = environment.now_ns()
        self._process = psutil.Process()
        signer, database = repo.signer, repo.database
        self._log, self._pins = LogStore(database), Pins(database)
        self._benchmark = Benchmark(environment, settings.region) if settings.benchmark else None
        self.host = Host(signer, swarm_key=swarm_key)
        links = SyncLinks(self.host, environment.random)
        self.membership = Membership(
            signer=signer,
            host=self.host,
            links=links,
            table=Members(database),
            environment=environment,
            bootstrap=settings.bootstrap,
            resolve=self._addresses_of,
            announce=settings.announce,
            root=settings.root,
            region=settings.region,
        )
        providers = Providers(
            self.host, self.membership, takes_all=settings.full_replica or settings.validate
        )
        files = Files(self.host, repo.blocks, providers, PROFILES[settings.profile])
        self.tokens = Tokens(settings.api_token_path) if settings.api_token_file else None
        self._arrivals = Arrivals(self._log, environment, self._joined, self._accepted)
        self.replication = Replication(
            key=signer.key_hex,
            host=self.host,
            links=links,
            store=self._log,
            arrivals=self._arrivals,
            membership=self.membership,
            environment=environment,
            only_store=settings.store or repo.orphaned,
            on_store=self._on_store,
            on_peer=self._peer_arrived,
        )
        self.replication.on_pushed = providers.heard
        self._ballots = ballots = BallotStore(database)
        self._judge = Judge(repo.path / "judged")
        self.votes = self.replication.votes = BallotBox(
            signer=signer,
            links=links,
            store=ballots,
            environment=environment,
            address=self._address,
            agreed=lambda: self.replication.agreed,
            may_vote=self._may_vote,
        )
        self.validation = ValidationService(
            signer=signer,
            host=self.host,
            table=Validations(database),
            store=ballots,
            contents=JudgedContents(database),
            box=self.votes,
            judge=self._judge,
            environment=environment,
            address=self._address,
            voters=self._electorate,
            percent=settings.quorum,
            name_of=self._log.name_of,
            read=files.read,
        )
        self.contributions = Contributions(
            signer=signer,
            store=self._log,
            pins=self._pins,
            files=files,
            replication=self.replication,
            validation=self.validation,
            environment=environment,
            download_dir=settings.download_path,
            full_replica=settings.full_replica,
        )
        self._protection: Sequence[str] = ()
        self._unasked = Unasked(
            peer_id=signer.peer_id,
            store=self._log,
            needs=self.validation.needs,
            validate=self.contributions.judge,
            environment=environment,
        )
        if settings.validate:
            self.validation.sooner = self._unasked.sooner
        self.changes = Changes(self._log, self.contributions.check_store, environment)
        self.contributions.on_post = self._posted
        self._healing = Healing(
            repo=repo,
            store=self._log,
            pins=self._pins,
            files=files,
            replication=self.replication,
            arrivals=self._arrivals,
            environment=environment,
            recheck=self.contributions.recheck,
        )
        self._links = links
        BlockServer(self.host, files.serve)
        serve_answers(self.host, BENCHMARK_PROTOCOL, BenchmarkRequest, self._answer_benchmark)

    @classmethod
    @asynccontextmanager
    async def run(
        cls, settings: Settings, environment: Environment, random: Callable[[int], bytes], version: str
    ) -> AsyncIterator[Node]:
        """A node that runs for as long as the block does.

        Args:
            settings: what it was told.
            environment: time and jitter.
            random: gives that many random bytes, for keys and ids.
            version: shown in status.

        Raises:
            PeersDBError: it cannot start; the message says why.
        """
        if settings.store:
            try:
                parse_address(settings.store)
            except InvalidCID as error:
                raise SettingsError(f"flag -store: {error}") from error
        swarm_key = read_swarm_key(settings.swarm_key_path) if settings.swarm_key_file else None
        rules = await trio.to_thread.run_sync(read_rules, settings)
        repo = Repo(settings.repo_dir, random)
        try:
            node = cls(settings, repo, environment, version, swarm_key)
            await node.replication.load()
            await node.membership.load()
            await node.votes.load()
            node.check_store()
            async with (
                open_validators(rules, repo.path) as validators,
                node.host.run(settings.ipfs_host, settings.ipfs_port),
                trio.open_nursery() as nursery,
            ):
                node._judge.use(validators)
                node._protection = validators.protection
                nursery.start_soon(node._links.run)
                nursery.start_soon(node.replication.run)
                await node._create_store(random)
                nursery.start_soon(node.membership.run)
                nursery.start_soon(node.contributions.run)
                nursery.start_soon(node.votes.run)
                if settings.validate:
                    nursery.start_soon(node._unasked.run)
                nursery.start_soon(node._healing.run)
                if node._benchmark is not None:
                    nursery.start_soon(node._benchmark.run)
                log.info(
                    "listening",
                    addresses=node.membership.addresses,
                    region=settings.region,
                    root=settings.root,
                    swarm_key=node._network,
                )
                yield node
                nursery.cancel_scope.cancel()
        finally:
            repo.close()

    def check_store(self) -> None:
        """Refuses to run on a repo that holds another log than the one that was asked for.

        Raises:
            SettingsError: it does.
        """
        state = self.replication.state
        if state is not None and self.settings.store not in ("", state.address):
            raise SettingsError(
                f"flag -store: {self.settings.repo_dir} holds {state.address} and not {self.settings.store}: "
                "leave the flag out, or start on a new -repo"
            )

    async def _create_store(self, random: Callable[[int], bytes]) -> None:
        """A root's first start: its bootstrap peers are asked for a log before a new one is made."""
        if not self.settings.root or self.settings.store or self.replication.state is not None:
            return
        if self._repo.orphaned:
            log.error(
                "the log's manifest lay on a damaged page: a member has to tell it", log=self._repo.orphaned
            )
            return
        if self.settings.bootstrap:
            with trio.move_on_after(ROOT_ASKS):
                if await self.membership.try_bootstrap():
                    await self.replication.has_store.wait()
        if self.replication.state is None:
            manifest = contributions_manifest(random(16).hex())
            await self.replication.create(manifest)
            log.info("made a new contributions store", address=manifest.address)

    # --- what the interfaces ask ---------------------------------------------------------------------

    def ready(self) -> str:
        """Empty when the node is ready, else why not."""
        return self.replication.ready

    async def connect(self, address: str) -> None:
        """Connects to a multiaddr that ends in ``/p2p/<peer id>``.

        Raises:
            BadRequest, PeerUnreachable: see `Host.dial`.
        """
        await self.host.dial(address)

    async def status(self) -> dict[str, Any]:
        """What ``GET /peersdb/status`` answers."""
        # As committed: a post that was answered counts, even if replication has not heard of it yet.
        state, heads = await self._log.summary()
        wanted, pinned = await self._pins.counts()
        voters, votes = await self._ballots.counts()
        times = self._process.cpu_times()
        return {
            "peerId": self.host.peer_id,
            "version": self._version,
            "region": self.settings.region,
            "root": self.settings.root,
            "fullReplica": self.settings.full_replica,
            "storeAddress": state.address if state else None,
            "ready": not self.ready(),
            "entries": state.fingerprint.count if state else 0,
            "heads": heads,
            "pending": self._arrivals.pending,
            "fingerprint": (state.fingerprint if state else EMPTY).hex,
            "addrs": self.membership.addresses,
            "swarmKey": self._network,
            "members": self.membership.count,
            "peers": [self._peer(peer) for peer in self.host.connected],
            "pins": {"wanted": wanted, "pinned": pinned},
            "validation": {
                "unasked": self.settings.validate,
                "voters": voters,
                "votes": votes,
                "disqualified": sorted(self.votes.disqualified),
                "sandbox": list(self._protection),
            },
            "damage": self._healing.status,
            "replicationSeconds": self._benchmark.recent() if self._benchmark else None,
            "process": {
                "pid": os.getpid(),
                "uptimeSeconds": round((self._environment.now_ns() - self._started) / 1e9, 3),
                "memBytes": self._process.memory_info().rss,
                "cpuSeconds": round(times.user + times.system, 3),
            },
        }

    def benchmark(self) -> dict[str, Any] | None:
        """This node's own benchmark, or None when it records none."""
        return self._benchmark.result() if self._benchmark else None

    async def benchmarks(self) -> list[dict[str, Any]]:
        """The benchmarks of all connected peers that record one, then this node's own.

        Raises:
            NotEnabled: this node records none.
        """
        if self._benchmark is None:
            raise NotEnabled("Benchmark is not enabled, use -benchmark to do so")
        found: list[dict[str, Any]] = []
        limit = trio.CapacityLimiter(ASK_AT_ONCE)

        async def collect(peer: str) -> None:
            async with limit:
                try:
                    answer = await ask(self.host, peer, BENCHMARK_PROTOCOL, BenchmarkRequest())
                    benchmark = decode_benchmark(answer.json if isinstance(answer, BenchmarkAnswer) else b"?")
                except PeersDBError as error:
                    log.warning("a peer's benchmark is missing", peer=peer, error=str(error))
                else:
                    found.extend(benchmark)

        async with trio.open_nursery() as nursery:
            for peer in self.host.connected:
                nursery.start_soon(collect, peer)
        return [*found, self._benchmark.result()]

    def _peer(self, peer: str) -> dict[str, Any]:
        record = self.membership.record(peer)
        return {
            "peerId": peer,
            "region": record.region if record else "",
            "root": bool(record and record.root),
        }

    # --- what the parts tell -------------------------------------------------------------------------

    async def _addresses_of(self, peer: str) -> Sequence[str]:
        return await addresses_of(peer, self.tokens.first if self.tokens else "")

    async def _answer_benchmark(self, _question: Message) -> Message:
        return BenchmarkAnswer(self._benchmark.encoded() if self._benchmark else b"")

    # Replication is made before the contributions that listen to it.

    def _joined(self, conn: sqlite3.Connection, entries: Sequence[Entry]) -> None:
        self.contributions.joined(conn, entries)
        self.replication.own_chain.joined(conn, entries)

    def _posted(self) -> None:
        self._unasked.wake()
        self.changes.wake()

    async def _peer_arrived(self) -> None:
        await self.contributions.peer_arrived()

    def _address(self) -> str | None:
        return self.replication.state.address if self.replication.state else None

    def _electorate(self) -> dict[str, int]:
        return self.settings.voter_weights or dict.fromkeys(self.replication.agreed, 1)

    def _may_vote(self, peer: str) -> bool:
        """Votes of members, connected peers and the voters that were named are kept; strangers' are not."""
        return (
            peer in self.settings.voter_weights
            or peer == self.host.peer_id
            or self.membership.record(peer) is not None
            or peer in self.host.connected
        )

    def _accepted(self, entries: Sequence[Entry]) -> None:
        if self._benchmark is not None:
            self._benchmark.arrived(entries)
        self.contributions.wake()
        self._unasked.wake()
        self.changes.wake()
        self.replication.own_chain.accepted()

    def _on_store(self, state: LogState) -> None:
        # The validations store of the original is private; its table is named after the log.
        self._repo.write_config(state.address, f"{state.address}/validations")

    def write_benchmark(self) -> None:
        """Writes ``<repo>_benchmark``, as the original does at its end."""
        if self._benchmark is not None:
            self._repo.write_benchmark(self._benchmark.encoded())
