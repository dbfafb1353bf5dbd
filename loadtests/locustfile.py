"""Run as ``locust -f loadtests/locustfile.py --nodes http://127.0.0.1:8080``; see docs/loadtests.md."""

from typing import Any

from locust import events

from loadtests import lifecycle
from loadtests.arguments import add_arguments
from loadtests.profiles.contributing import Contributor, LargeContributor
from loadtests.profiles.evaluation import Evaluation
from loadtests.profiles.joining import Newcomer
from loadtests.profiles.reading import LargeReader, Reader
from loadtests.profiles.validating import Validator

__all__ = [
    "Contributor",
    "Evaluation",
    "LargeContributor",
    "LargeReader",
    "Newcomer",
    "Reader",
    "Validator",
]


def _on_init(environment: Any, runner: Any, **_: Any) -> None:
    lifecycle.on_init(environment, runner)
    hooks = environment.events
    # Listeners to this one are called last to first, and a worker's own says goodbye to the master: ours, which
    # sends the last samples, must come before it.
    hooks.quitting.add_listener(lifecycle.on_quitting)
    hooks.quit.add_listener(lambda **_: lifecycle.on_quit(environment))


events.init_command_line_parser.add_listener(lambda parser, **_: add_arguments(parser))
events.init.add_listener(_on_init)
events.test_start.add_listener(lifecycle.on_test_start)
events.test_stopping.add_listener(lifecycle.on_test_stopping)
events.test_stop.add_listener(lifecycle.on_test_stop)
