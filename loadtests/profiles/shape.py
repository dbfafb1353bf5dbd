"""How the load of a run goes: its parts one after the other, with a pause between two until all has arrived.

One run of locust has all of them: users come, stay for ``--run-time`` and go; what they posted is awaited; then the
next part's users come. The shape is a script rather than a function of time: it waits inside ``tick``.
"""

import time
from collections.abc import Iterator
from typing import Any

import gevent
import locust
from locust.runners import MasterRunner

from loadtests.board import RUNNING, SETTLING, Board
from loadtests.direction import BEGIN_SECONDS
from loadtests.errors import LoadTestError
from loadtests.options import CHURN, PARTITION, Options, read_options
from loadtests.segments import Segment, plan, stage

Tick = tuple[int, float]

# Users end with the request that they are in; a `get` may take a minute.
LEAVE_SECONDS = 90.0
# A fault that begins later would not be over, and its effect not be seen, before the part ends.
FAULT_TAIL_SECONDS = 15.0
LOOK_SECONDS = 0.05


class Script(locust.LoadTestShape):  # type: ignore[misc]  # locust has no types
    """So many users for so long, in every part of the run."""

    # Not found by locust as a class of the locustfile: it is chosen by the profile.
    abstract = True
    use_common_options = True

    def __init__(self, environment: Any, board: Board) -> None:
        """Belong to a run's environment."""
        super().__init__()
        self.environment = environment
        self.runner = environment.runner
        self.board = board
        self._steps: Iterator[Tick] | None = None

    def tick(self) -> Tick | None:
        """How many users there should be, and how fast they come; None ends the run."""
        if self._steps is None:
            self._steps = self._run()
        return next(self._steps, None)

    def rewind(self) -> None:
        """The run has ended: the next one begins at the beginning."""
        self._steps = None

    def _run(self) -> Iterator[Tick]:
        options = read_options(self.environment.parsed_options)
        segments = plan(options.cells, options.repeats)
        self.board.segments, self.board.seconds = len(segments), options.run_time
        if isinstance(self.runner, MasterRunner) and not self.runner.worker_count:
            self._nobody()
            return
        for segment in segments:
            self.environment.parsed_options.peersdb_segment = segment.message()
            self.board.stage = stage(segment, len(options.cells), options.repeats)
            if segment.index:
                self._begun(segment)
            steps = self.load(options)
            yield next(steps)
            if not segment.index:
                self._wait_for_run()
                self._begun(segment)
            yield from steps
            self.environment.peersdb_direction.end()
            self.board.state, self.board.fault = SETTLING, False
            yield 0, float(max(1, options.users))
            self._wait_for_users()
            self.environment.peersdb_direction.settle()
        yield from self.after(options)

    def load(self, options: Options) -> Iterator[Tick]:
        """The users of one part of the run."""
        yield self.users(options), options.spawn_rate
        yield from self.hold(options)

    def after(self, options: Options) -> Iterator[Tick]:  # noqa: ARG002  # for others
        """What follows the last part; nothing, by default."""
        yield from ()

    @staticmethod
    def users(options: Options) -> int:
        """How many users: no more than come within the run's time, since locust waits until all have."""
        if options.run_time is None:
            return options.users
        return min(options.users, max(1, int(options.run_time * options.spawn_rate)))

    def hold(self, options: Options) -> Iterator[Tick]:
        """Wait until the part's time is over, and say when faults may be made."""
        while options.run_time is None:
            gevent.sleep(1)
        faults = options.profile in (CHURN, PARTITION)
        tail = min(FAULT_TAIL_SECONDS, options.run_time / 3)
        while (left := self.board.began + options.run_time - time.monotonic()) > 0:
            warm = time.monotonic() - self.board.began >= options.warmup
            self.board.fault = faults and warm and left > tail
            gevent.sleep(min(left, 0.25))
        yield from ()

    def _begun(self, segment: Segment) -> None:
        self.board.segment, self.board.began = segment, time.monotonic()
        self.board.state = RUNNING
        self.environment.peersdb_direction.begin(segment)

    def _wait_for_run(self) -> None:
        """The first part begins with the run, which locust starts after the first step."""
        deadline = time.monotonic() + BEGIN_SECONDS
        while (direction := self.environment.peersdb_direction) is None:
            if time.monotonic() > deadline:
                raise LoadTestError("the run could not begin: see the error above")
            gevent.sleep(LOOK_SECONDS)
        if not direction.wait_ready(deadline):
            direction.problem(f"not every worker has begun within {BEGIN_SECONDS:g} s")

    def _wait_for_users(self) -> None:
        deadline = time.monotonic() + LEAVE_SECONDS
        while self.runner.user_count and time.monotonic() < deadline:
            gevent.sleep(LOOK_SECONDS)

    def _nobody(self) -> None:
        """No worker came: there is a run all the same, which says so."""
        self.environment.events.test_start.fire(environment=self.environment)
        self.environment.peersdb_direction.problem("no worker came: nothing was measured")
        self.environment.events.test_stop.fire(environment=self.environment)
