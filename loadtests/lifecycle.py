"""What each of locust's events leads to, from its start to the report.

Workers send their raw samples with locust's own reports, and once more at the end when the master asks for them,
so that a sample is either in the file or counted as missing.
"""

import sys
import time
from dataclasses import replace
from typing import Any

import gevent
from locust.runners import MasterRunner, WorkerRunner

from loadtests import shapes
from loadtests.errors import LoadTestError
from loadtests.options import EVALUATION, find_nodes, read_options
from loadtests.results import prepare
from loadtests.run import Run, meet_all, open_dataset

# Requests in flight may end when the run does; killing them would hide the slowest ones.
STOP_TIMEOUT = 5.0

FINISH, LAST, BENCHMARKS = "peersdb_finish", "peersdb_last", "peersdb_benchmarks"


def on_init(environment: Any, runner: Any, **_: Any) -> None:
    """Check the options before anything runs, and set up what the profile needs."""
    if isinstance(runner, WorkerRunner):
        runner.register_message(FINISH, _on_finish, concurrent=True)
    else:
        try:
            options = read_options(environment.parsed_options)
            meet_all(find_nodes(options))
            open_dataset(options)
            if options.report:
                prepare(options.report)
        except LoadTestError as error:
            sys.stderr.write(f"loadtests: {error}\n")
            sys.exit(2)
        runner.register_message(BENCHMARKS, _on_benchmarks)
        if isinstance(runner, MasterRunner):
            runner.register_message(LAST, _on_last)
        shapes.choose(environment, options)
    environment.stop_timeout = environment.stop_timeout or STOP_TIMEOUT
    environment.events.request.add_listener(lambda **event: _on_request(environment, **event))


def on_test_start(environment: Any, **_: Any) -> None:
    """Begin a run."""
    environment.peersdb_runs = getattr(environment, "peersdb_runs", 0) + 1
    environment.peersdb = None
    options = read_options(environment.parsed_options)
    if options.profile == EVALUATION and options.max_probes < 1:
        options = replace(options, max_probes=1)
    environment.peersdb = Run(environment, options, environment.peersdb_runs)


def on_test_stopping(environment: Any, **_: Any) -> None:
    """The master asks its workers for their last samples and waits for them."""
    runner, run = environment.runner, getattr(environment, "peersdb", None)
    if not isinstance(runner, MasterRunner) or not run:
        return
    run.silent = {client.id for client in runner.clients.all if client.state != "missing"}
    runner.send_message(FINISH)
    deadline = time.monotonic() + environment.stop_timeout + 2 * run.options.replication_timeout + 5
    while run.silent and time.monotonic() < deadline:
        gevent.sleep(0.05)
    if run.silent:
        run.problems.append(f"{len(run.silent)} of the workers did not deliver their last samples")


def on_test_stop(environment: Any, **_: Any) -> None:
    """End a run: everywhere wait for what is watched, where it is directed write the report."""
    run = getattr(environment, "peersdb", None)
    if not run:
        return
    run.settle()
    if not isinstance(environment.runner, WorkerRunner):
        environment.peersdb = None  # the files are closed: later events belong to no run
        run.finish()
        if run.problems:
            environment.process_exit_code = 1


def on_quitting(environment: Any, **_: Any) -> None:
    """Ctrl-C: end the run before locust computes its exit code."""
    environment.runner.stop()


def on_report_to_master(data: dict[str, Any], environment: Any) -> None:
    """A worker adds its raw samples to locust's report."""
    run = getattr(environment, "peersdb", None)
    if run:
        data["peersdb"] = run.take()


def on_worker_report(data: dict[str, Any], environment: Any) -> None:
    """The master takes them."""
    run = getattr(environment, "peersdb", None)
    if run and "peersdb" in data:
        run.accept(data["peersdb"])


def _on_request(environment: Any, **event: Any) -> None:
    run = getattr(environment, "peersdb", None)
    if run:
        run.on_request(**event)


def _on_finish(environment: Any, **_: Any) -> None:
    """A worker was told to finish: stop (which waits for what is watched), then send the rest."""
    environment.runner.stop()
    run = getattr(environment, "peersdb", None)
    environment.runner.send_message(LAST, run.take() if run else None)


def _on_last(environment: Any, msg: Any, **_: Any) -> None:
    run = getattr(environment, "peersdb", None)
    if run:
        run.silent.discard(msg.node_id)
        if msg.data:
            run.accept(msg.data)


def _on_benchmarks(environment: Any, msg: Any, **_: Any) -> None:
    """The evaluation has come to its end, in this process or in a worker."""
    run = getattr(environment, "peersdb", None)
    if run:
        run.benchmarks = msg.data["benchmarks"]
        run.problems += msg.data["problems"]
        run.evaluated = True
