"""The part of a run where load is made: in locust's local runner and in each worker.

It has the nodes, the payloads and the feeds that it watches, and gives what it saw to whoever directs: rows for the
file of samples, what was posted, and what was seen.
"""

import random
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
from gevent.lock import BoundedSemaphore
from gevent.pool import Pool

from loadtests.errors import JoinFailed, LoadTestError, NodeError, ReplicationTimeout
from loadtests.feed import Feed, Seen
from loadtests.options import Options, find_nodes
from loadtests.quiet import meet
from loadtests.samples import JOIN, REPLICATION, Sample
from loadtests.segments import Cell, Segment, taking_part
from loadtests.targets import Node
from loadtests.workload import Dataset, Payload, Payloads, default_dataset, generate, read_dataset

# Between two reports (1 s) a worker makes a few thousand samples; what is over is counted as dropped.
MAX_BUFFERED = 50_000
# What a Reader may get: the newest entries of each node, and the sizes of the files posted here.
MAX_KNOWN = 1_000
MAX_SIZES = 100_000
MAX_RECENT = 100
# A node that is asked who it is does not wait for others.
MEET_AT_ONCE = 32
# Each node is followed before the load begins, unless it does not answer.
FEED_SECONDS = 15.0
DELIVER_SECONDS = 1.0

FIRST = Segment(0, Cell(), 1).message()
_FAILURES: dict[str, type[LoadTestError]] = {REPLICATION: ReplicationTimeout, JOIN: JoinFailed}
_TYPES = {REPLICATION: "REPL", JOIN: "JOIN"}


class Run:
    """One run in one process that makes load."""

    def __init__(
        self, environment: Any, options: Options, regions: tuple[str, ...], deliver: Callable[[Any], None]
    ) -> None:
        """Begin: meet the nodes, follow them.

        Args:
            environment: locust's.
            options: as the user, or the master, gave them.
            regions: those that this process drives and watches; none: all.
            deliver: takes what was seen, once a second.

        Raises:
            LoadTestError: a node does not answer, or the data set cannot be used.
        """
        self._environment = environment
        self._runner = environment.runner
        self.options = options
        own = [
            node for node in find_nodes(options) if not regions or not node.region or node.region in regions
        ]
        met, self._problems = meet_all(own, strict=options.targets is None)
        by_name = {node.name: node for node in met}
        self.nodes = [by_name.get(node.name, node) for node in find_nodes(options)]
        self.mine = {node.name for node in met if not regions or node.region in regions}
        self.away: set[str] = set()
        """Members that the operator has taken away: nobody asks them."""

        self._driven: tuple[tuple[Cell, frozenset[str]], list[Node]] | None = None
        self._segment = Segment(-1, Cell(), 1)
        self._rows: deque[list[str]] = deque()
        self._posted: list[list[Any]] = []
        self._seen: list[list[Any]] = []
        self._dropped = 0
        index = max(0, getattr(self._runner, "worker_index", 0))
        self.rng = random.Random(None if options.seed is None else options.seed + index)  # noqa: S311
        self._turns: dict[str, int] = {}
        self._first_turn = index
        self._known: dict[str, list[str]] = {}
        self._sizes: dict[str, int] = {}
        self.recent: deque[str] = deque(maxlen=MAX_RECENT)
        self.joining = BoundedSemaphore(1)
        self.dataset = open_dataset(options)
        self.payloads = Payloads(self.dataset, self.rng, size=options.payload_size)
        self.feed = Feed([node for node in self.nodes if node.name in self.mine], self._saw)
        self.feed.wait(FEED_SECONDS)
        self._deliver = deliver
        self._pump = gevent.spawn(self._deliver_often)

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

    @property
    def segment(self) -> Segment:
        """The part of the run that is under way; the master sends it with the users to start."""
        message = getattr(self._environment.parsed_options, "peersdb_segment", None) or FIRST
        if message["index"] != self._segment.index:
            self._segment = Segment.from_message(message)
        return self._segment

    def driven(self) -> list[Node]:
        """The nodes that are driven from here in this segment, without those that are away."""
        key = (self.segment.cell, frozenset(self.away))
        if self._driven is None or self._driven[0] != key:  # asked for each request
            here = [node for node in taking_part(self.nodes, key[0]) if node.name in self.mine]
            self._driven = (key, [node for node in here if node.name not in key[1]])
        return self._driven[1]

    def deal(self, user_class: str) -> Node | None:
        """The next node for a user of a class, each in turn; None: there is none. Workers begin at different ones."""
        nodes = self.driven()
        turn = self._turns.get(user_class, self._first_turn)
        self._turns[user_class] = turn + 1
        return nodes[turn % len(nodes)] if nodes else None

    def payload(self, default_size: int | None = None) -> Payload:
        """The next payload, of the segment's size.

        Raises:
            WorkloadError: a file went away.
        """
        return self.payloads.next(self.segment.cell.payload_size or self.options.payload_size or default_size)

    def posted(self, payload: Payload, node: Node) -> None:
        """A node has taken a file: remember it, and have it awaited elsewhere."""
        path = f"/ipfs/{payload.cid}"
        self._sizes[path] = len(payload.data)
        self.recent.append(path)
        if len(self._sizes) > MAX_SIZES:
            del self._sizes[next(iter(self._sizes))]
        if len(self._posted) < MAX_BUFFERED:
            self._posted.append([path, node.name, time.time(), len(payload.data), self.segment.index])
        else:
            self._dropped += 1

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

    # Raw samples.

    def on_request(self, context: dict[str, Any], **event: Any) -> None:
        """Keep a request event of locust as a raw sample."""
        sample = context.get("sample") or from_event(context, event, self.segment.index)
        if sample is None:
            return  # an event of someone else's user class in the same locustfile
        if len(self._rows) < MAX_BUFFERED:
            self._rows.append(sample.row())
        else:
            self._dropped += 1

    def flush(self) -> None:
        """Deliver now."""
        self._deliver(self.take())

    def take(self) -> dict[str, Any]:
        """What was seen since the last call."""
        batch = {
            "rows": list(self._rows),
            "posted": self._posted,
            "seen": self._seen,
            "dropped": self._dropped,
            "problems": [*self._problems, *self._too_old()],
        }
        self._rows.clear()
        self._posted, self._seen, self._dropped, self._problems = [], [], 0, []
        return batch

    def close(self) -> None:
        """Stop watching, and deliver the rest."""
        self.feed.close()
        self._pump.kill()
        self.flush()

    def _saw(self, seen: Seen) -> None:
        if len(self._seen) < MAX_BUFFERED:
            self._seen.append([seen.path, seen.target, seen.at, seen.gap, seen.created])
        else:
            self._dropped += 1

    def _deliver_often(self) -> None:
        while True:
            gevent.sleep(DELIVER_SECONDS)
            self.flush()

    def _too_old(self) -> list[str]:
        found, self.feed.too_old = sorted(self.feed.too_old), set()
        return [
            f"{name} has no GET /peersdb/changes, so nothing can be measured of replication there: "
            "update it to this version"
            for name in found
        ]


def fire(environment: Any, sample: Sample) -> None:
    """Make a sample an event of locust, which brings it into its statistics and, by ``on_request``, to us."""
    environment.events.request.fire(
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


def meet_all(nodes: list[Node], *, strict: bool = True) -> tuple[list[Node], list[str]]:
    """Ask every node who it is. Returns the nodes, and what is wrong with those that do not answer.

    Raises:
        NodeError: one does not answer, and ``strict`` was asked for.
    """

    def ask(node: Node) -> Node | NodeError:
        try:
            return meet(node)
        except NodeError as error:
            return error  # raised below: in a greenlet it would also be printed

    met, problems = [], []
    for node, answer in zip(nodes, Pool(MEET_AT_ONCE).map(ask, nodes), strict=True):
        if isinstance(answer, Node):
            met.append(answer)
        elif strict:
            raise answer
        else:
            met.append(node)
            problems.append(f"at the start: {answer}")
    return met, problems


_generated: dict[tuple[int, int], Dataset] = {}
_places: list[tempfile.TemporaryDirectory[str]] = []


def open_dataset(options: Options) -> Dataset:
    """The files to post; generated ones are made once in a process, and are gone with it.

    Raises:
        WorkloadError: there are none.
    """
    if not options.generated_files:
        return read_dataset(options.dataset) if options.dataset else default_dataset()
    key = (options.generated_files, options.generated_size)
    if key not in _generated:
        place = tempfile.TemporaryDirectory(prefix="peersdb-generated-")
        _places.append(place)
        _generated[key] = generate(Path(place.name), *key)
    return _generated[key]


def from_event(context: dict[str, Any], event: dict[str, Any], segment: int) -> Sample | None:
    """The sample of a request event of locust; None if it is not one of ours."""
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
        segment=segment,
    )
