"""The paper's first scenario: a cluster with entries, to which newcomers come in waves."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gevent
from gevent.pool import Pool

from loadtests.board import RUNNING
from loadtests.errors import JoinFailed, NodeError
from loadtests.newcomer import join
from loadtests.options import Options
from loadtests.profiles.joining import joined
from loadtests.profiles.shape import Script, Tick
from loadtests.run import fire
from loadtests.targets import Node
from loadtests.waves import entries_of, watch

# Waves are most of such a run; how long they take nobody knows before.
SHARE_OF_LOAD = 0.2
MAX_AT_ONCE = 100


class Waves(Script):
    """First entries are posted for ``--run-time``; then, without load, wave after wave of newcomers joins.

    With the control API each wave is asked for and told by the operator. Without it newcomers are processes of this
    machine.
    """

    abstract = True

    def load(self, options: Options) -> Iterator[Tick]:
        """The entries that newcomers will have to get."""
        self.board.share = SHARE_OF_LOAD
        yield from super().load(options)

    def after(self, options: Options) -> Iterator[Tick]:
        """The waves."""
        for number in range(1, options.waves + 1):
            self.board.stage = f"wave {number}/{options.waves}"
            self.board.state = RUNNING
            try:
                if options.control:
                    went_on = self._told(number, entries_of(self._direction.nodes), options)
                else:
                    went_on = self._processes(options)
            except NodeError as error:
                self._direction.problem(f"wave {number}: {error}")
                return
            if not went_on:
                return
            self.board.waves = number / options.waves
            self._direction.end()
        yield from ()

    @property
    def _direction(self) -> Any:
        return self.environment.peersdb_direction

    def _told(self, number: int, goal: int, options: Options) -> bool:
        """Ask for a wave, and time the newcomers that are named. Returns whether there was one."""
        self.board.wave = number
        deadline = time.monotonic() + options.join_timeout
        while (event := self.board.events.wave(number)) is None:
            self.board.told.clear()
            if not self.board.told.wait(max(0.0, deadline - time.monotonic())):
                self.board.wave = None
                self._direction.problem(
                    f"wave {number} was asked for and did not come within {options.join_timeout:g} s"
                )
                return False
        self.board.wave = None
        token = self._direction.nodes[0].token
        members = [replace(node, token=token) for node in event.members]
        if not members:
            self._direction.problem(f"wave {number} has no newcomers")
        self._direction.join(members)
        Pool(MAX_AT_ONCE).map(lambda node: self._time(node, goal, options), members)
        return True

    def _time(self, node: Node, goal: int, options: Options) -> None:
        began, error, error_bar = time.time(), "", 0.0
        try:
            found = watch(node, goal, timeout=options.join_timeout, sleep=gevent.sleep)
            began, seconds, error_bar = found.began, found.seconds, found.error_bar
        except JoinFailed as failure:
            seconds, error = time.time() - began, str(failure)
        self._joined(node, node.name, began=began, seconds=seconds, error_bar=error_bar, error=error)

    def _joined(self, member: Node, newcomer: str, **measured: Any) -> None:
        fire(self.environment, joined(member, newcomer, segment=self.board.segments - 1, **measured))

    def _processes(self, options: Options) -> bool:
        """Start the newcomers of a wave here, at once, and end them when all have joined."""
        members = self._direction.nodes
        by = [members[turn % len(members)] for turn in range(options.per_wave)]

        def one(member: Node) -> None:
            began, error, seconds = time.time(), "", 0.0
            try:
                seconds = join(
                    member,
                    timeout=options.join_timeout,
                    sleep=gevent.sleep,
                    token_file=options.api_token_file,
                ).caught_up
            except (JoinFailed, NodeError, OSError) as failure:
                error, seconds = str(failure), time.time() - began
            newcomer = f"newcomer of {member.name}"
            self._joined(member, newcomer, began=began, seconds=seconds, error_bar=0.0, error=error)

        Pool(MAX_AT_ONCE).map(one, by)
        return True
