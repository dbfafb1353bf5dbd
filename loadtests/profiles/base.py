"""What users have in common: one node at a time, and a schedule."""

import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

import gevent
import locust
from locust.exception import StopUser

from loadtests.client import NodeClient
from loadtests.run import Run
from loadtests.schedule import Schedule
from loadtests.targets import Node

F = TypeVar("F", bound=Callable[..., None])
# A process whose region takes no part in a cell has users without a node: they rest.
NOBODY = Node("nobody", "http://127.0.0.1:9")


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
    # Of the rate that was asked for; set by the profile.
    share_of_rate = 1.0

    def __init__(self, environment: Any) -> None:
        """Pick a node."""
        self.run_: Run = Run.of(environment)
        self.node = self.run_.deal(type(self).__name__) or NOBODY
        self.host = self.node.url
        super().__init__(environment)
        self.api = NodeClient(self.node, self.client, environment.events.request.fire)

    def on_start(self) -> None:
        """Begin when all processes do, at a random moment of the schedule's first period: not in step with others.

        Raises:
            StopUser: there is no node for this user.
        """
        if self.node is NOBODY:
            raise StopUser
        self.environment.peersdb_begun.wait()
        period = 1 / (self.run_.options.rate * self.share_of_rate)
        self.schedule = Schedule(period, time.monotonic() + self.run_.rng.uniform(0, period))

    def wait_time(self) -> float:
        """Until the next request is due; locust asks after each task."""
        return self.schedule.pause(time.monotonic())

    def due(self) -> float:
        """Wait for the next request's moment, and say how late this one starts.

        A user whose node is away goes to another one.
        """
        gevent.sleep(self.schedule.pause(time.monotonic()))
        if self.node.name in self.run_.away:
            self.node = self.run_.deal(type(self).__name__) or self.node
            self.api.node = self.node
        return self.schedule.start(time.monotonic())
