"""The commands of the harness."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from cluster import golang
from cluster.api_server import ApiServer
from cluster.commands import say
from cluster.errors import HarnessError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except HarnessError as error:
        say(f"cluster: {error}")
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cluster", description="A Kubernetes cluster on this machine, for tests."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    build = commands.add_parser("build", help="build the programs (once; no root needed)")
    build.add_argument("--api", action="store_true", help="only what the API server alone needs")
    build.set_defaults(run=_build)

    api = commands.add_parser(
        "api", help="run etcd and an API server on loopback until Ctrl-C (no root needed)"
    )
    api.add_argument("--dir", type=Path, required=True, metavar="DIR", help="where it keeps all")
    api.add_argument("--controllers", action="store_true", help="the controllers and the scheduler too")
    api.set_defaults(run=_api)
    return parser


def _build(options: argparse.Namespace) -> int:
    directory = golang.build(golang.API_PROGRAMS if options.api else golang.ALL_PROGRAMS)
    say(f"built: {directory}")
    return 0


def _api(options: argparse.Namespace) -> int:
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with ApiServer(options.dir, controllers=options.controllers) as server:
        sys.stdout.write(f"export KUBECONFIG={server.kubeconfig}\n")
        sys.stdout.flush()
        say("the API server runs until Ctrl-C")
        while not ended.wait(1.0):
            server.check()
    return 0
