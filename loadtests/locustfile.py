"""Run as ``locust -f loadtests/locustfile.py --nodes http://127.0.0.1:8080``; see docs/loadtests.md."""

from typing import Any

from locust import events

from loadtests import lifecycle
from loadtests.evaluation import Evaluation
from loadtests.options import add_arguments
from loadtests.users import Contributor, Newcomer, Reader

__all__ = ["Contributor", "Evaluation", "Newcomer", "Reader"]


def _on_init(environment: Any, runner: Any, **_: Any) -> None:
    lifecycle.on_init(environment, runner)
    hooks = environment.events
    # Listeners to this one are called last to first, and a worker's own says goodbye to the master: ours, which
    # sends the last samples, must come before it.
    hooks.quitting.add_listener(lifecycle.on_quitting)
    hooks.report_to_master.add_listener(
        lambda data, **_: lifecycle.on_report_to_master(data, environment=environment)
    )
    hooks.worker_report.add_listener(
        lambda client_id, data, **_: lifecycle.on_worker_report(client_id, data, environment)
    )


events.init_command_line_parser.add_listener(lambda parser, **_: add_arguments(parser))
events.init.add_listener(_on_init)
events.test_start.add_listener(lifecycle.on_test_start)
events.test_stopping.add_listener(lifecycle.on_test_stopping)
events.test_stop.add_listener(lifecycle.on_test_stop)
