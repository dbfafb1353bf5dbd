"""The users of the mixed profile. Each talks to one node; the users of a class are dealt out over all
nodes.
"""

import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

import gevent
import locust
from locust.exception import StopUser

from loadtests.client import NodeClient
from loadtests.errors import JoinFailed, NodeError
from loadtests.newcomer import join
from loadtests.run import Run
from loadtests.samples import JOIN, Sample
from loadtests.schedule import Schedule

F = TypeVar("F", bound=Callable[..., None])


def task(weight: int = 1, *, tag: str) -> Callable[[F], F]:
    """A locust task with one tag, typed."""

    def wrap(function: F) -> F:
        return cast("F", locust.tag(tag)(locust.task(weight)(function)))

    return wrap


class NodeUser(locust.FastHttpUser):  # type: ignore[misc]  # locust has no types
    """A user of one node's HTTP API, on a schedule."""

    abstract = True
    connection_timeout = 5.0
    # The node gives up a `get` before that, with an error that says more than a timeout here would.
    network_timeout = 60.0

    def __init__(self, environment: Any) -> None:
        """Pick a node."""
        self.run_: Run = Run.of(environment)
        self.node = self.run_.deal(type(self).__name__)
        self.host = self.node.url
        super().__init__(environment)
        self.api = NodeClient(self.node, self.client)

    def on_start(self) -> None:
        """Begin the schedule at a random moment of its first period, so that users do not march in step."""
        period = 1 / self.run_.options.rate
        self.schedule = Schedule(period, time.monotonic() + self.run_.rng.uniform(0, period))

    def wait_time(self) -> float:
        """Until the next request is due; locust asks after each task."""
        return self.schedule.pause(time.monotonic())

    def due(self) -> float:
        """Wait for the first request's moment, and say how late this one starts."""
        gevent.sleep(self.schedule.pause(time.monotonic()))
        return self.schedule.start(time.monotonic())


class Contributor(NodeUser):
    """Posts files, on each node in turn, and has their replication watched: so every region is a source."""

    weight = 1

    @task(tag="post")
    def post(self) -> None:
        """Post the next file."""
        payload = self.run_.payloads.next()
        late = self.due()
        self.api.node = self.run_.deal("post")
        if self.api.post(payload, late=late):
            self.run_.posted(payload, self.api.node)


class Reader(NodeUser):
    """Asks what there is, and gets some of it."""

    weight = 2

    @task(1, tag="query")
    def query(self) -> None:
        """Ask for all contributions."""
        entries = self.api.query(late=self.due())
        if entries:
            self.run_.known(self.node, [entry["path"] for entry in entries])

    @task(3, tag="get")
    def get(self) -> None:
        """Get a file that this node is known to list; the first time, ask."""
        path = self.run_.pick(self.node)
        if path is None:
            self.query()
        else:
            self.api.get(path, late=self.due(), size=self.run_.size_of(path))


class Newcomer(locust.User):  # type: ignore[misc]  # locust has no types
    """Lets one fresh node join the cluster, then is done. Newcomers of a worker join one after the other."""

    # Set by --newcomers.
    fixed_count = 1

    def __init__(self, environment: Any) -> None:
        """Pick the member to join by."""
        super().__init__(environment)
        self.run_: Run = Run.of(environment)
        self.node = self.run_.deal("Newcomer")

    @task(tag="newcomer")
    def join(self) -> None:
        """Join once."""
        with self.run_.joining:
            began, wall = time.monotonic(), time.time()
            seconds, error = 0.0, "ended by an error that the log tells of"
            try:
                done = join(self.node, timeout=self.run_.options.join_timeout, sleep=gevent.sleep)
                seconds, error = done.caught_up, ""
            except (JoinFailed, NodeError, OSError) as failure:
                error = str(failure)
            except gevent.GreenletExit:
                error = "the run ended before the newcomer had caught up"
                raise
            finally:
                self.run_.fire(
                    Sample(
                        ts=wall,
                        kind=JOIN,
                        source=self.node.name,
                        target=f"newcomer of {self.node.name}",
                        source_region=self.node.region,
                        target_region=self.node.region,
                        seconds=seconds or time.monotonic() - began,
                        late=0.0,
                        error_bar=0.0,
                        bytes=0,
                        ok=not error,
                        error=error,
                    ),
                )
        raise StopUser
