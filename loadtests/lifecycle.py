"""What each of locust's events leads to, from its start to the report.

Workers deliver what they saw once a second, and once more at the end when the master asks for it, so that a sample is
either in the file or counted as missing. They go on watching until the master has settled what was posted.
"""

import logging
import signal
import subprocess
import sys
import time
from typing import Any

import gevent
from gevent.event import Event as Signal
from locust.runners import MasterRunner, WorkerRunner

from loadtests import evaluating, profiles
from loadtests.board import SETTLING, Board
from loadtests.control import Control
from loadtests.direction import BEGIN_SECONDS, Direction
from loadtests.errors import LoadTestError
from loadtests.faults import Event
from loadtests.options import Options, find_nodes, read_options, read_token
from loadtests.progress import progress
from loadtests.results import prepare
from loadtests.run import Run, meet_all, open_dataset

log = logging.getLogger("loadtests")

# Requests in flight and newcomers that are joining may end when the run does; killing them would hide the slowest
# ones. A newcomer takes 1.2 s of a core, and more where the machine is busy.
STOP_TIMEOUT = 20.0
# A second greenlet that ends the run waits this long for the first: entries still awaited, then the report.
END_SECONDS = 720.0
# A worker that was asked to end alone, and whose master does not say that all is settled.
LINGER_SECONDS = 20.0
# Who has the results says so; nobody is waited for longer.
COLLECT_SECONDS = 600.0

DATA, BEGIN, FINISH, LAST, CLOSE, AWAY = (
    f"peersdb_{name}" for name in ("data", "begin", "finish", "last", "close", "away")
)


def on_init(environment: Any, runner: Any, **_: Any) -> None:
    """Check the options before anything runs, and set up what the profile needs."""
    _interrupt_main_alone()
    environment.stop_timeout = environment.stop_timeout or STOP_TIMEOUT
    environment.events.request.add_listener(lambda **event: _on_request(environment, **event))
    # The master's options replace a worker's own, which is right for all but this one.
    environment.peersdb_regions = tuple(environment.parsed_options.region.replace(",", " ").split())
    environment.peersdb_closed = Signal()
    environment.peersdb_begun = Signal()
    if not isinstance(runner, MasterRunner):
        evaluating.take_part(environment)
    if isinstance(runner, WorkerRunner):
        runner.register_message(BEGIN, lambda environment, **_: environment.peersdb_begun.set())
        runner.register_message(FINISH, _on_finish, concurrent=True)
        runner.register_message(CLOSE, _on_close, concurrent=True)
        runner.register_message(AWAY, _on_away)
        return
    board = environment.peersdb_board = Board()
    try:
        options = read_options(environment.parsed_options)
        meet_all(find_nodes(options), strict=options.targets is None)
        open_dataset(options)
        if options.report:
            prepare(options.report)
        environment.parsed_options.peersdb_profile = (
            options.profile
        )  # locust keeps its own options from workers
        profiles.choose(environment, options, board)
        _serve(environment, options, board)
    except LoadTestError as error:
        sys.stderr.write(f"loadtests: {error}\n")
        sys.exit(2)
    evaluating.direct(environment, board.evaluating)
    if isinstance(runner, MasterRunner):
        runner.register_message(DATA, _on_data)
        runner.register_message(LAST, _on_last)
        gevent.spawn(_admit, environment, options, board)


def _serve(environment: Any, options: Options, board: Board) -> None:
    if options.control is None or options.control_token_file is None:
        return
    expected = environment.parsed_options.expect_workers if environment.parsed_options.master else 1
    control = environment.peersdb_control = Control(
        board,
        read_token(options.control_token_file),
        progress=lambda: progress(environment, board, expected),
        told=lambda event: _on_told(environment, event),
    )
    port = control.start(*options.control)
    log.info("control API on port %d", port)


def _admit(environment: Any, options: Options, board: Board) -> None:
    """Let the run begin without workers that do not come."""
    parsed, clients = environment.parsed_options, environment.runner.clients
    deadline = time.monotonic() + options.worker_timeout
    while (there := len(clients.ready)) < parsed.expect_workers:
        if time.monotonic() >= deadline:
            missing = parsed.expect_workers - there
            board.problems.append(
                f"{missing} of {parsed.expect_workers} workers did not come within {options.worker_timeout:g} s"
            )
            parsed.expect_workers = there  # locust's own loop waits for so many
            return
        gevent.sleep(0.2)


def on_test_start(environment: Any, **_: Any) -> None:
    """Begin a run."""
    environment.peersdb = environment.peersdb_direction = None
    environment.peersdb_closed.clear()
    environment.peersdb_begun.clear()
    options = read_options(environment.parsed_options)
    runner = environment.runner
    if isinstance(runner, WorkerRunner):
        try:
            profiles.prepare(options.profile)
            environment.peersdb = Run(
                environment,
                options,
                environment.peersdb_regions,
                lambda batch: runner.send_message(DATA, batch),
            )
        except LoadTestError as error:
            problem = f"a worker could not begin: {error}"
            runner.send_message(
                DATA, {"rows": [], "posted": [], "seen": [], "dropped": 0, "problems": [problem]}
            )
            raise
        environment.peersdb.flush()
        return
    environment.peersdb_runs = getattr(environment, "peersdb_runs", 0) + 1
    direction = Direction(environment, options, environment.peersdb_board, environment.peersdb_runs)
    environment.peersdb_latest = direction
    if not isinstance(runner, MasterRunner):
        profiles.prepare(options.profile)
        environment.peersdb = Run(environment, options, options.regions, direction.accept)
        environment.peersdb_begun.set()
    environment.peersdb_direction = direction
    direction.started_load = time.time()
    if isinstance(runner, MasterRunner):
        gevent.spawn(_begin, environment, direction)
    if environment.shape_class is None:
        direction.begin(direction.plan[0])


def _begin(environment: Any, direction: Direction) -> None:
    """Let the workers' users begin when every worker follows its nodes: what is posted before is not seen by all."""
    direction.wait_ready(time.monotonic() + BEGIN_SECONDS)
    environment.runner.send_message(BEGIN)


def on_test_stopping(environment: Any, **_: Any) -> None:
    """The master asks its workers for their last samples and waits for them."""
    runner, direction = environment.runner, getattr(environment, "peersdb_direction", None)
    if direction is None or direction.workers is None:
        return
    direction.workers.ending = True
    runner.send_message(FINISH)
    deadline = time.monotonic() + environment.stop_timeout + 15
    while direction.workers.awaited() and time.monotonic() < deadline:
        gevent.sleep(0.05)
    for problem in direction.workers.silent():
        direction.problem(problem)


def on_test_stop(environment: Any, **_: Any) -> None:
    """End a run, where it is directed: wait for what is awaited, write the report."""
    direction = getattr(environment, "peersdb_direction", None)
    if direction is not None and not isinstance(environment.runner, WorkerRunner):
        environment.peersdb_direction = None
        # In a greenlet of its own: locust kills its own ones when the last worker has quit.
        gevent.spawn(_end, environment, direction).join()


def _end(environment: Any, direction: Direction) -> None:
    board, verdict = environment.peersdb_board, False
    try:
        board.state, board.stage = SETTLING, "the report"
        direction.settle()
        if direction.workers is not None:
            environment.runner.send_message(CLOSE)
        if environment.peersdb is not None:
            environment.peersdb.close()
        found = direction.finish()
        environment.peersdb = None  # the files are closed: later events belong to no run
        verdict = not direction.problems if found is None else found
        if found is not None or direction.problems:
            environment.process_exit_code = 0 if verdict else 1
    except (LoadTestError, OSError, subprocess.SubprocessError) as error:
        log.error("the results could not be written: %s", error)  # said in one line
        direction.problem(f"the results could not be written: {error}")
        environment.process_exit_code = 1
    finally:
        if environment.shape_class is not None:
            environment.shape_class.rewind()
        direction.done(verdict)
        direction.ended.set()


def on_quitting(environment: Any, **_: Any) -> None:
    """A signal, or the end: finish the run before locust computes its exit code.

    Ctrl-C reaches all processes of ``--processes`` at once, so a worker does not wait to be asked; it goes on watching
    until its master has settled.
    """
    runner = environment.runner
    runner.stop()
    run = getattr(environment, "peersdb", None)
    if not isinstance(runner, WorkerRunner):
        latest = getattr(environment, "peersdb_latest", None)
        if latest is not None:
            latest.ended.wait(END_SECONDS)
    elif run is not None:
        run.flush()
        runner.send_message(LAST)
        if len(runner.greenlet):  # else the master has told it to quit, and nothing is received any more
            environment.peersdb_closed.wait(run.options.replication_timeout + LINGER_SECONDS)
        run.close()


def on_quit(environment: Any, **_: Any) -> None:
    """The last moment: whoever wants the results gets the time to take them."""
    control = getattr(environment, "peersdb_control", None)
    if control is not None:
        if environment.peersdb_board.results is not None and not control.wait_collected(COLLECT_SECONDS):
            log.warning("nobody has collected the results within %g s", COLLECT_SECONDS)
        control.close()


def _interrupt_main_alone() -> None:
    """Let Ctrl-C end locust's main greenlet, which ends the run, and no other.

    Python raises ``KeyboardInterrupt`` in whatever greenlet runs at that moment. One that watches a node would die of
    it, and what it watches would never be settled.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else someone wants it otherwise
        main = gevent.getcurrent()
        loop = gevent.get_hub().loop
        gevent.signal_handler(signal.SIGINT, loop.run_callback, main.throw, KeyboardInterrupt)


def _on_request(environment: Any, **event: Any) -> None:
    run = getattr(environment, "peersdb", None)
    latest = getattr(environment, "peersdb_latest", None)
    if run is not None:
        run.on_request(**event)
    elif latest is not None and "sample" in event["context"]:
        latest.write(event["context"]["sample"])


def _on_told(environment: Any, event: Event) -> None:
    """An event was told: nobody is sent to a member that is away."""
    del event
    away = sorted(environment.peersdb_board.events.away())
    run = getattr(environment, "peersdb", None)
    if run is not None:
        run.away = set(away)
    elif isinstance(environment.runner, MasterRunner):
        environment.runner.send_message(AWAY, {"names": away})


def _on_away(environment: Any, msg: Any, **_: Any) -> None:
    run = getattr(environment, "peersdb", None)
    if run is not None:
        run.away = set(msg.data["names"])


def _on_finish(environment: Any, **_: Any) -> None:
    """A worker was told to finish: stop the users, send the rest, go on watching."""
    run = getattr(environment, "peersdb", None)
    environment.runner.stop()
    if run is not None:
        run.flush()
    environment.runner.send_message(LAST)


def _on_close(environment: Any, **_: Any) -> None:
    """The master has settled all: stop watching."""
    run = getattr(environment, "peersdb", None)
    if run is not None:
        run.close()
    environment.peersdb_closed.set()


def _on_data(environment: Any, msg: Any, **_: Any) -> None:
    direction = getattr(environment, "peersdb_latest", None)
    if direction is not None and direction.workers is not None:
        direction.workers.add(msg.node_id)
        direction.accept(msg.data)


def _on_last(environment: Any, msg: Any, **_: Any) -> None:
    direction = getattr(environment, "peersdb_latest", None)
    if direction is not None and direction.workers is not None:
        direction.workers.goodbye(msg.node_id)
