"""The shape of the original's evaluation: it ends when all is posted, not by the clock."""

import time
from collections.abc import Iterator

from locust.runners import MasterRunner

from loadtests.options import Options
from loadtests.profiles.shape import Script, Tick

LOOK_SECONDS = 0.5


class Once(Script):
    """One user for each process, of which one posts; then what it posted is awaited."""

    abstract = True

    def load(self, options: Options) -> Iterator[Tick]:  # noqa: ARG002  # its users are not to be chosen
        """Until the evaluation has come to its end, or nobody is there to bring it there."""
        evaluating = self.board.evaluating
        evaluating.begin()
        self.board.seconds = None
        users = max(1, self.runner.worker_count) if isinstance(self.runner, MasterRunner) else 1
        yield users, float(users)
        began = time.monotonic()
        while not evaluating.over.wait(LOOK_SECONDS):
            if problem := evaluating.stuck(self.runner, time.monotonic() - began):
                self.environment.peersdb_direction.problem(problem)
                return
