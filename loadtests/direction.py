"""The part of a run where it is directed: in locust's local runner and in the master.

It joins what was posted with what was seen, keeps the raw samples and the look at the nodes, and says at the end what
was run and what is wrong with it.
"""

import logging
import time
from collections import deque
from typing import Any

import gevent
from gevent.event import Event as Signal
from locust.runners import MasterRunner

from loadtests.board import DONE, Board
from loadtests.clocks import Clocks
from loadtests.environment import command_line, describe
from loadtests.errors import NodeError
from loadtests.feed import Seen
from loadtests.gather import contributor, gather
from loadtests.options import CHURN, Options, find_nodes
from loadtests.replication import Ledger, Outcome, Post, measure
from loadtests.results import ResultsWriter, RunDescription, report_directory
from loadtests.run import fire, meet_all, open_dataset
from loadtests.sampler import Sampler
from loadtests.samples import REPLICATION, Sample
from loadtests.segments import Segment, plan, taking_part
from loadtests.targets import Node
from loadtests.verdict import draw
from loadtests.workers import Workers

log = logging.getLogger("loadtests")

LOOK_SECONDS = 0.25
# Two of a worker's reports, and their way.
REPORTS_SECONDS = 2.5
# All processes have met the nodes by then, or never do.
BEGIN_SECONDS = 60.0
# Every node was asked for its clock by then, or does not answer.
CLOCKS_SECONDS = 15.0
# For the percentiles that are shown while the run goes on.
RECENT = 10_000
# Requests that failed in a segment and may yet turn out to have met a deleted member.
MAX_HELD = 20_000
MAX_PROBLEMS = 200


class Direction:
    """One run, directed."""

    def __init__(self, environment: Any, options: Options, board: Board, number: int) -> None:
        """Begin: meet the nodes, compare clocks, open the files.

        Raises:
            LoadTestError: a node does not answer, or the directory cannot be used.
        """
        self._environment = environment
        self._runner = environment.runner
        self.options = options
        self.board = board
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.nodes, silent = meet_all(find_nodes(options), strict=options.targets is None)
        for problem in [*board.problems, *silent]:
            self.problem(problem)
        self._regions = {node.name: node.region for node in self.nodes}
        self._newcomers: set[str] = set()
        self._started = time.time()
        self._dropped = self._excused = 0
        self._held: list[list[str]] = []
        self.segments: list[dict[str, Any]] = []
        self.plan = plan(options.cells, options.repeats)
        self._targets: dict[int, list[str]] = {}
        self.started_load: float = 0.0
        """When locust was told to start users, by the wall clock; 0: not yet."""

        self.ended = Signal()
        """Everything is settled and written."""

        self.ledger = Ledger(options.replication_timeout)
        self.replicated: deque[float] = deque(maxlen=RECENT)
        self.workers = Workers(environment.runner) if isinstance(environment.runner, MasterRunner) else None
        self.clocks = Clocks(self.nodes)
        self._results: ResultsWriter | None = None
        self._sampler: Sampler | None = None
        if options.report:
            self._results = ResultsWriter(report_directory(options.report, number))
            self._sampler = Sampler(self.nodes, self._results.node)
        self.clocks.wait(CLOCKS_SECONDS)
        self._looking = gevent.spawn(self._look)

    def problem(self, text: str) -> None:
        """Say why the run cannot be taken for a complete one; each is said once."""
        if text not in self.problems and len(self.problems) < MAX_PROBLEMS:
            self.problems.append(text)
            log.warning("%s", text)

    def join(self, nodes: list[Node]) -> None:
        """Newcomers: they are looked at and asked for their benchmark like the others, and are no targets."""
        new = [node for node in nodes if node.name not in self._regions]
        self._newcomers |= {node.name for node in new}
        self.nodes += new
        self._regions |= {node.name: node.region for node in new}
        if self._sampler:
            self._sampler.add(new)

    # Segments.

    def ready(self) -> bool:
        """Whether all that make load have met the nodes."""
        return bool(self.started_load) and (self.workers is None or self.workers.all_there())

    def wait_ready(self, deadline: float) -> bool:
        """Wait for them until a moment of the monotonic clock. Returns whether they have."""
        while not self.ready() and time.monotonic() < deadline:
            gevent.sleep(0.05)
        return self.ready()

    def begin(self, segment: Segment) -> None:
        """The load of a segment begins now; that of the first began when users were started."""
        now = time.time()
        began = self.started_load if not self.segments and self.started_load else now
        cell = {
            "regions": segment.cell.regions,
            "peers": segment.cell.peers,
            "payload_size": segment.cell.payload_size,
        }
        self.segments.append(
            {
                "index": segment.index,
                "cell": cell,
                "repeat": segment.repeat,
                "began": began,
                "ended": began,
                "warm_until": now + self.options.warmup if self.options.warmup else began,
            }
        )

    def end(self) -> None:
        """The load of the segment ends now."""
        if self.segments:
            self.segments[-1]["ended"] = time.time()

    def settle(self) -> None:
        """Wait until all that was posted has arrived or failed."""
        deadline = (
            time.monotonic() + self.options.replication_timeout + self.ledger.slack + 2 * REPORTS_SECONDS
        )
        self._flush()
        if self.workers is not None:
            gevent.sleep(REPORTS_SECONDS)
        while self.ledger.pairs and time.monotonic() < deadline:
            gevent.sleep(0.05)
            self._flush()
        self._release()

    # What processes deliver.

    def accept(self, batch: dict[str, Any]) -> None:
        """Take what a process that makes load has seen."""
        self._dropped += batch["dropped"]
        for problem in batch["problems"]:
            self.problem(problem)
        for row in batch["rows"]:
            self._keep(row)
        now = time.monotonic()
        for fields in batch["posted"]:
            post = Post(*fields)
            targets = [name for name in self._targets_of(post.segment) if name != post.source]
            self._outcomes(self.ledger.posted(post, targets, now))
        for fields in batch["seen"]:
            self._outcomes(self.ledger.seen(Seen(*fields), now))

    def _targets_of(self, segment: int) -> list[str]:
        if segment not in self._targets:
            nodes = [node for node in self.nodes if node.name not in self._newcomers]
            self._targets[segment] = [node.name for node in taking_part(nodes, self.plan[segment].cell)]
        return self._targets[segment]

    def write(self, sample: Sample) -> None:
        """Keep a sample that was made here."""
        if self._results:
            self._results.samples.write(sample.row())

    def _keep(self, row: list[str]) -> None:
        if self.options.profile == CHURN and len(self._held) < MAX_HELD and not Sample.from_row(row).ok:
            self._held.append(row)  # until it is known whether the member was deleted then
        elif self._results:
            self._results.samples.write(row)

    def _release(self) -> None:
        held, self._held = self._held, []
        for row in held:
            sample = Sample.from_row(row)
            if self.board.events.excuses(sample.source, sample.ts, sample.ts + sample.seconds):
                self._excused += 1
            elif self._results:
                self._results.samples.write(row)

    def _outcomes(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            post = outcome.post
            clocks = self.clocks.of(post.source), self.clocks.of(outcome.target)
            found = measure(outcome, *clocks, self.options.replication_timeout)
            self.replicated.append(float("inf") if found.error else found.seconds)
            fire(
                self._environment,
                Sample(
                    ts=found.began,
                    kind=REPLICATION,
                    source=post.source,
                    target=outcome.target,
                    source_region=self._regions.get(post.source, ""),
                    target_region=self._regions.get(outcome.target, ""),
                    seconds=found.seconds,
                    late=0.0,
                    error_bar=found.error_bar,
                    bytes=post.size,
                    ok=not found.error,
                    error=found.error,
                    segment=post.segment,
                ),
            )

    def _look(self) -> None:
        while True:
            gevent.sleep(LOOK_SECONDS)
            self._outcomes(self.ledger.expired(time.monotonic()))
            for problem in self.workers.lost() if self.workers else ():
                self.problem(problem)

    def _flush(self) -> None:
        run = getattr(self._environment, "peersdb", None)
        if run is not None:
            run.flush()

    # The end.

    def finish(self) -> bool | None:
        """Write everything and draw the report. Returns its verdict; None without a report."""
        ended = time.time()
        self._looking.kill()
        self._outcomes(self.ledger.cut_short())
        self._flush()
        self._release()
        if self.segments and self.segments[-1]["ended"] == self.segments[-1]["began"]:
            self.end()
        if self._sampler:
            self._sampler.close()
            for name in sorted(self._sampler.silent - self.board.events.away()):
                self.problem(f"{name} does not answer at the end of the run")
        for found in self._runner.exceptions.values():
            self.problem(f"an exception in a user, {found['count']} times: {found['msg']}")
        if self._results is None:
            self.clocks.close()
            return None
        try:
            values = gather(self.nodes, contributor(self.nodes))
        except NodeError as error:
            values = []
            self.notes.append(f"No benchmark.json: {error}")
        self._say()
        clocks = self.clocks.table()
        self.clocks.close()
        self._results.finish(self._describe(ended, clocks), values)
        return draw(self._results.directory)

    def done(self, passed: bool) -> None:
        """The run is over and its files are there."""
        self.board.passed = passed
        self.board.stage = "done"
        self.board.results = self._results.directory if self._results else None
        self.board.state = DONE

    def _say(self) -> None:
        if getattr(self._runner, "cpu_warning_emitted", False) or getattr(
            self._runner, "worker_cpu_warning_emitted", False
        ):
            self.notes.append(
                "The load generator used over 90 % of a core: latencies include its own. Use --processes."
            )
        if self._excused:
            self.notes.append(
                f"{self._excused} requests met a member that the operator had deleted: they are in no figure."
            )
        if self.ledger.forgotten:
            self.problem(
                f"{self.ledger.forgotten} entries were seen that could not be kept until they were known"
            )

    def _describe(self, ended: float, clocks: dict[str, dict[str, float]]) -> RunDescription:
        dataset = open_dataset(self.options)
        options = {
            key: str(value)
            for key, value in vars(self.options).items()
            if value not in (None, "", ()) and not key.endswith("token_file")
        }
        return RunDescription(
            profile=self.options.profile,
            started=self._started,
            ended=ended,
            command=command_line(),
            nodes=[node.public() for node in self.nodes],
            dataset={
                "name": dataset.name,
                "files": len(dataset.files),
                "bytes": dataset.size,
                "skipped": list(dataset.skipped),
            },
            options=options,
            environment=describe(),
            unwatched_posts=self.ledger.unwatched,
            dropped_rows=self._dropped,
            missed_looks=dict(self._sampler.missed) if self._sampler else {},
            problems=self.problems,
            notes=self.notes,
            segments=self.segments,
            thresholds=list(self.options.thresholds),
            events=[event.public() for event in self.board.events.told.values()],
            clocks=clocks,
        )
