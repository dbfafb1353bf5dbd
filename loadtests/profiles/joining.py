"""Fresh nodes that join, as processes of this machine: part of the mixed load."""

import time
from typing import Any

import gevent
import locust
from locust.exception import StopUser

from loadtests.errors import JoinFailed, NodeError
from loadtests.newcomer import join
from loadtests.profiles.base import NOBODY, task
from loadtests.run import Run, fire
from loadtests.samples import JOIN, Sample
from loadtests.targets import Node


class Newcomer(locust.User):  # type: ignore[misc]  # locust has no types
    """Lets one fresh node join the cluster, then is done. Newcomers of a worker join one after the other."""

    # Set by --newcomers.
    fixed_count = 1

    def __init__(self, environment: Any) -> None:
        """Pick the member to join by."""
        super().__init__(environment)
        self.run_: Run = Run.of(environment)
        self.node = self.run_.deal("Newcomer") or NOBODY

    @task(tag="newcomer")
    def join(self) -> None:
        """Join once."""
        if self.node is not NOBODY:
            with self.run_.joining:
                self._join()
        raise StopUser

    def _join(self) -> None:
        began, wall = time.monotonic(), time.time()
        seconds, error = 0.0, "ended by an error that the log tells of"
        try:
            done = join(
                self.node,
                timeout=self.run_.options.join_timeout,
                sleep=gevent.sleep,
                token_file=self.run_.options.api_token_file,
            )
            seconds, error = done.caught_up, ""
        except (JoinFailed, NodeError, OSError) as failure:
            error = str(failure)
        except gevent.GreenletExit:
            error = "the run ended before the newcomer had caught up"
            raise
        finally:
            seconds = seconds or time.monotonic() - began
            newcomer = f"newcomer of {self.node.name}"
            segment = self.run_.segment.index
            fire(
                self.environment,
                joined(
                    self.node,
                    newcomer,
                    began=wall,
                    seconds=seconds,
                    error_bar=0.0,
                    error=error,
                    segment=segment,
                ),
            )


def joined(
    member: Node, newcomer: str, *, began: float, seconds: float, error_bar: float, error: str, segment: int
) -> Sample:
    """The sample of a newcomer that has joined by ``member``, or has not."""
    return Sample(
        ts=began,
        kind=JOIN,
        source=member.name,
        target=newcomer,
        source_region=member.region,
        target_region=member.region,
        seconds=seconds,
        late=0.0,
        error_bar=error_bar,
        bytes=0,
        ok=not error,
        error=error,
        segment=segment,
    )
