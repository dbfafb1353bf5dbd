"""One run in one process: its nodes, its payloads, what it watches, and where its samples go.

The process is alone (locust's local runner), or is the master or a worker of several. Users, payloads and
watching live where the load is made (local, worker); files, the look at the nodes' processes and the report
where it is directed (local, master).
"""

import logging
import random
import subprocess
import sys
import time
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gevent.event import Event
from gevent.lock import BoundedSemaphore
from gevent.pool import Pool
from locust.runners import MasterRunner, WorkerRunner

from loadtests.environment import command_line, describe
from loadtests.errors import JoinFailed, LoadTestError, NodeError, ReplicationTimeout
from loadtests.gather import contributor, gather
from loadtests.options import Options, find_nodes
from loadtests.quiet import meet
from loadtests.replication import Replication
from loadtests.results import ResultsWriter, RunDescription
from loadtests.sampler import Sampler
from loadtests.samples import JOIN, REPLICATION, Sample
from loadtests.targets import Node
from loadtests.workload import Dataset, Payload, Payloads, default_dataset, read_dataset

log = logging.getLogger("loadtests")

# Between two reports (3 s) a worker makes a few thousand samples; what is over is counted as dropped.
MAX_BUFFERED = 50_000
# What a Reader may get: the newest entries of each node, and the sizes of the files posted here.
MAX_KNOWN = 1_000
MAX_SIZES = 100_000
# A node that is asked who it is does not wait for others.
MEET_AT_ONCE = 32
REPORT_SECONDS = 300

_FAILURES: dict[str, type[LoadTestError]] = {REPLICATION: ReplicationTimeout, JOIN: JoinFailed}
_TYPES = {REPLICATION: "REPL", JOIN: "JOIN"}


class Run:
    """One run in one process."""

    def __init__(self, environment: Any, options: Options, number: int) -> None:
        """Begin: meet the nodes and open the files.

        Raises:
            LoadTestError: a node does not answer, the data set or the directory cannot be used.
        """
        self._environment = environment
        self._runner = environment.runner
        self.options = options
        self.nodes = meet_all(find_nodes(options))
        self._started = time.time()
        self._buffer: deque[list[str]] = deque()
        self._dropped = 0
        self._unwatched = 0
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.benchmarks: list[dict[str, Any]] = []
        self.workers: set[str] = set()
        """Workers that took part; only on the master."""

        self.delivered: set[str] = set()
        """Those that have sent all of their samples; on a worker itself, if it has."""

        self.ended = Event()
        """Everything is settled and written."""

        self.evaluated = False
        """The evaluation has come to its end."""

        self._index = max(0, getattr(self._runner, "worker_index", 0))
        self.rng = random.Random(None if options.seed is None else options.seed + self._index)  # noqa: S311
        self._dealt: dict[str, int] = {}
        self._known: dict[str, list[str]] = {}
        self._sizes: dict[str, int] = {}
        self.joining = BoundedSemaphore(1)
        self.dataset = open_dataset(options)
        self.payloads = Payloads(self.dataset, self.rng, size=options.payload_size)
        self.replication: Replication | None = None
        self._results: ResultsWriter | None = None
        self._sampler: Sampler | None = None
        if not isinstance(self._runner, MasterRunner):
            self.replication = Replication(
                self.nodes, self.fire, limit=options.max_probes, timeout=options.replication_timeout
            )
        if not isinstance(self._runner, WorkerRunner) and options.report:
            self._results = ResultsWriter(report_directory(options.report, number))
            self._sampler = Sampler(self.nodes, self._results.node)

    @staticmethod
    def of(environment: Any) -> "Run":
        """The run that a user belongs to.

        Raises:
            LoadTestError: it could not begin; the log has the reason.
        """
        run = getattr(environment, "peersdb", None)
        if not isinstance(run, Run):
            raise LoadTestError("the run could not begin: see the error above")
        return run

    # What users need.

    def deal(self, user_class: str) -> Node:
        """The next node for a user of a class: each node in turn, beginning elsewhere in each worker."""
        turn = self._dealt.get(user_class, self._index)
        self._dealt[user_class] = turn + 1
        return self.nodes[turn % len(self.nodes)]

    def posted(self, payload: Payload, node: Node, *, wait: bool = False) -> None:
        """A node has taken a file: remember it and watch it arrive elsewhere."""
        self._sizes[f"/ipfs/{payload.cid}"] = len(payload.data)
        if len(self._sizes) > MAX_SIZES:
            del self._sizes[next(iter(self._sizes))]
        if self.replication:
            self.replication.watch(payload.cid, node, started=time.time(), size=len(payload.data), wait=wait)

    def known(self, node: Node, paths: list[str]) -> None:
        """A node has listed these."""
        self._known[node.name] = paths[-MAX_KNOWN:]

    def pick(self, node: Node) -> str | None:
        """One of the paths that a node has listed."""
        paths = self._known.get(node.name)
        return self.rng.choice(paths) if paths else None

    def size_of(self, path: str) -> int:
        """Bytes of a file that was posted from here, else 0."""
        return self._sizes.get(path, 0)

    def fire(self, sample: Sample) -> None:
        """Make a sample an event of locust, which brings it into its statistics and, by ``on_request``, to
        us.
        """
        self._environment.events.request.fire(
            request_type=_TYPES[sample.kind],
            name=f"{sample.source_region} → {sample.target_region}",
            response_time=sample.seconds * 1000,
            response_length=sample.bytes,
            exception=None if sample.ok else _FAILURES[sample.kind](sample.error),
            context={"sample": sample},
            start_time=sample.ts,
            url=None,
            response=None,
        )

    # Raw samples.

    def on_request(self, context: dict[str, Any], **event: Any) -> None:
        """Keep a request event of locust as a raw sample."""
        sample = context.get("sample") or _from_event(context, event)
        if sample is None:
            return  # an event of someone else's user class in the same locustfile
        if isinstance(self._runner, WorkerRunner):
            if len(self._buffer) < MAX_BUFFERED:
                self._buffer.append(sample.row())
            else:
                self._dropped += 1
        elif self._results:
            self._results.samples.write(sample.row())

    def take(self) -> dict[str, Any]:
        """A worker's samples since the last call, and its counts."""
        rows = list(self._buffer)
        self._buffer.clear()
        counts = {"rows": rows, "dropped": self._dropped, "unwatched": self._count_unwatched()}
        self._dropped = 0
        return counts

    def accept(self, counts: dict[str, Any]) -> None:
        """The master takes what a worker has sent."""
        self._dropped += counts["dropped"]
        self._unwatched += counts["unwatched"]
        if self._results:
            for row in counts["rows"]:
                self._results.samples.write(row)

    def _count_unwatched(self) -> int:
        if not self.replication:
            return 0
        count, self.replication.skipped = self.replication.skipped, 0
        return count

    # The end.

    def settle(self) -> None:
        """Wait until every watched entry has arrived or failed, then stop watching."""
        if self.replication:
            self.replication.drain()
            self.replication.close()

    def finish(self) -> None:
        """Write everything and draw the report; only where the run is directed."""
        ended = time.time()
        self._unwatched += self._count_unwatched()
        if self._sampler:
            self._sampler.close()
        self.problems += [
            f"an exception in a user, {found['count']} times: {found['msg']}"
            for found in self._runner.exceptions.values()
        ]
        if not self._results:
            return
        if not self.benchmarks:
            try:
                self.benchmarks = gather(self.nodes, contributor(self.nodes))
            except NodeError as error:
                self.notes.append(f"No benchmark.json: {error}")
        if getattr(self._runner, "cpu_warning_emitted", False):
            self.notes.append(
                "The load generator used over 90 % of a core: latencies include its own. Use --processes."
            )
        self._results.finish(self._describe(ended), self.benchmarks)
        self._draw(self._results.directory)

    def _describe(self, ended: float) -> RunDescription:
        options = {key: str(value) for key, value in asdict(self.options).items() if value not in (None, "")}
        options["users"] = str(self._environment.parsed_options.num_users)
        return RunDescription(
            profile=self.options.profile,
            started=self._started,
            ended=ended,
            command=command_line(),
            nodes=[asdict(node) for node in self.nodes],
            dataset={
                "name": self.dataset.name,
                "files": len(self.dataset.files),
                "bytes": self.dataset.size,
                "skipped": list(self.dataset.skipped),
            },
            options=options,
            environment=describe(),
            unwatched_posts=self._unwatched,
            dropped_rows=self._dropped,
            missed_looks=dict(self._sampler.missed) if self._sampler else {},
            problems=self.problems,
            notes=self.notes,
        )

    def _draw(self, directory: Path) -> None:
        # matplotlib in a process of its own: it knows nothing of gevent, and locust's memory stays small.
        done = subprocess.run(
            [sys.executable, "-m", "loadtests.report", str(directory)],
            capture_output=True,
            text=True,
            timeout=REPORT_SECONDS,
            check=False,
        )
        if done.stdout:
            log.info(done.stdout.strip())
        if done.returncode:
            log.error("the report: %s", done.stderr.strip())
            self._environment.process_exit_code = 1


def meet_all(nodes: list[Node]) -> list[Node]:
    """Ask every node who it is.

    Raises:
        NodeError: one does not answer.
    """

    def ask(node: Node) -> Node | NodeError:
        try:
            return meet(node)
        except NodeError as error:
            return error  # raised below: in a greenlet it would also be printed

    met = []
    for answer in Pool(MEET_AT_ONCE).map(ask, nodes):
        if isinstance(answer, NodeError):
            raise answer
        met.append(answer)
    return met


def open_dataset(options: Options) -> Dataset:
    """The files to post.

    Raises:
        WorkloadError: there are none.
    """
    return read_dataset(options.dataset) if options.dataset else default_dataset()


def report_directory(root: Path, number: int) -> Path:
    """Where the ``number``-th run of this process (counted from 1) goes; the web UI can start several."""
    return root if number == 1 else root / f"run-{number}"


def _from_event(context: dict[str, Any], event: dict[str, Any]) -> Sample | None:
    node = context.get("node")
    if not isinstance(node, Node):
        return None
    error = event.get("exception")
    return Sample(
        ts=event.get("start_time") or time.time(),
        kind=context["kind"],
        source=node.name,
        target="",
        source_region=node.region,
        target_region="",
        seconds=(event["response_time"] or 0.0) / 1000,
        late=context["late"],
        error_bar=0.0,
        bytes=context["bytes"] if error is None else 0,
        ok=error is None,
        error="" if error is None else str(error) or type(error).__name__,
    )
