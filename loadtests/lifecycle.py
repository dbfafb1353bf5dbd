"""What each of locust's events leads to, from its start to the report.

Workers send their raw samples with locust's own reports, and once more at the end when the master asks for them,
so that a sample is either in the file or counted as missing.
"""

import logging
import signal
import subprocess
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

log = logging.getLogger("loadtests")

# Requests in flight and newcomers that are joining may end when the run does; killing them would hide the slowest
# ones. A newcomer takes 1.2 s of a core, and more where the machine is busy.
STOP_TIMEOUT = 20.0
# A second greenlet that ends the run waits this long for the first: entries still awaited, then the report.
END_SECONDS = 120.0

FINISH, LAST, BENCHMARKS = "peersdb_finish", "peersdb_last", "peersdb_benchmarks"


def on_init(environment: Any, runner: Any, **_: Any) -> None:
    """Check the options before anything runs, and set up what the profile needs."""
    _interrupt_main_alone()
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
    environment.peersdb = environment.peersdb_latest = None
    options = read_options(environment.parsed_options)
    if options.profile == EVALUATION and options.max_probes < 1:
        options = replace(options, max_probes=1)
    environment.peersdb = environment.peersdb_latest = Run(environment, options, environment.peersdb_runs)


def on_test_stopping(environment: Any, **_: Any) -> None:
    """The master asks its workers for their last samples and waits for them."""
    runner, run = environment.runner, getattr(environment, "peersdb", None)
    if not isinstance(runner, MasterRunner) or not run:
        return
    runner.send_message(FINISH)
    deadline = time.monotonic() + environment.stop_timeout + 2 * run.options.replication_timeout + 5
    while time.monotonic() < deadline:
        present = {client.id for client in runner.clients.all if client.state != "missing"}
        if not present - run.delivered:
            break
        gevent.sleep(0.05)
    silent = run.workers - run.delivered
    if silent:
        run.problems.append(f"{len(silent)} of {len(run.workers)} workers did not deliver their last samples")


def on_test_stop(environment: Any, **_: Any) -> None:
    """End a run: everywhere wait for what is watched, where it is directed write the report."""
    run = getattr(environment, "peersdb", None)
    if run:
        # In a greenlet of its own: locust kills its own ones when the last worker has quit.
        gevent.spawn(_end, environment, run).join()


def _end(environment: Any, run: Run) -> None:
    try:
        run.settle()
        if not isinstance(environment.runner, WorkerRunner):
            environment.peersdb = None  # the files are closed: later events belong to no run
            run.finish()
            if run.problems:
                environment.process_exit_code = 1
    except (LoadTestError, OSError, subprocess.SubprocessError) as error:
        log.error("the results could not be written: %s", error)  # said in one line
        environment.process_exit_code = 1
    finally:
        run.ended.set()


def on_quitting(environment: Any, **_: Any) -> None:
    """A signal: end the run before locust computes its exit code, and let its report be drawn.

    Ctrl-C reaches all processes of ``--processes`` at once, so a worker does not wait to be asked.
    """
    run = getattr(environment, "peersdb_latest", None)  # also one whose end has begun
    environment.runner.stop()
    if run:
        run.ended.wait(END_SECONDS)
        if isinstance(environment.runner, WorkerRunner) and not run.delivered:
            _deliver(environment, run)


def on_report_to_master(data: dict[str, Any], environment: Any) -> None:
    """A worker adds its raw samples to locust's report."""
    run = getattr(environment, "peersdb", None)
    if run:
        data["peersdb"] = run.take()


def on_worker_report(client_id: str, data: dict[str, Any], environment: Any) -> None:
    """The master takes them."""
    run = getattr(environment, "peersdb", None)
    if run and "peersdb" in data:
        run.workers.add(client_id)
        run.accept(data["peersdb"])


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
    if run:
        run.on_request(**event)


def _on_finish(environment: Any, **_: Any) -> None:
    """A worker was told to finish: stop (which waits for what is watched), then send the rest."""
    run = getattr(environment, "peersdb", None)
    environment.runner.stop()
    if run:
        run.ended.wait(END_SECONDS)
    _deliver(environment, run)


def _deliver(environment: Any, run: Run | None) -> None:
    environment.runner.send_message(LAST, run.take() if run else None)
    if run:
        run.delivered.add(environment.runner.client_id)


def _on_last(environment: Any, msg: Any, **_: Any) -> None:
    run = getattr(environment, "peersdb", None)
    if run:
        if msg.data:
            run.accept(msg.data)
        run.workers.add(msg.node_id)
        run.delivered.add(msg.node_id)


def _on_benchmarks(environment: Any, msg: Any, **_: Any) -> None:
    """The evaluation has come to its end, in this process or in a worker."""
    run = getattr(environment, "peersdb", None)
    if run:
        run.benchmarks = msg.data["benchmarks"]
        run.problems += msg.data["problems"]
        run.evaluated = True
