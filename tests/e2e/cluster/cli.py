"""The commands of the harness."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from cluster import faults, golang, prerequisites, teardown
from cluster.api_server import ApiServer
from cluster.commands import say
from cluster.errors import HarnessError
from cluster.harness import Harness
from cluster.settings import Settings


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

    up = commands.add_parser("up", help="start a cluster (root); prints what a shell needs to use it")
    up.set_defaults(run=_up)
    down = commands.add_parser("down", help="stop it and remove all that it made on this machine (root)")
    down.set_defaults(run=_down)

    possible = commands.add_parser("possible", help="say whether a cluster can be made on this machine")
    possible.set_defaults(run=_possible)
    faults.add_commands(commands.add_parser("fault", help="break something of the cluster that runs (root)"))
    may_test = commands.add_parser("may-test", help="say whether, and on which cluster, tests would run")
    may_test.set_defaults(run=_may_test)
    return parser


def _possible(_options: argparse.Namespace) -> int:
    obstacle = prerequisites.obstacle()
    say(f"no cluster can be made on this machine: {obstacle}" if obstacle else "a cluster can be made here")
    return 1 if obstacle else 0


def _may_test(_options: argparse.Namespace) -> int:
    settings = Settings.from_environment()
    given = os.environ.get("KUBECONFIG")
    if given and Path(given) != settings.kubeconfig:
        say(f"testing on the cluster of KUBECONFIG={given}; faults that only our own can make are skipped")
        return 0
    prerequisites.check()
    say("testing on this machine's own cluster")
    return 0


def _up(_options: argparse.Namespace) -> int:
    harness = Harness.up(Settings.from_environment())
    say('\nready; in a shell: eval "$(make -s cluster-up)", or the lines that follow')
    sys.stdout.write(f"export KUBECONFIG={harness.settings.kubeconfig}\n")
    sys.stdout.write(f'export PATH="{harness.binaries}:$PATH"\n')
    return 0


def _down(_options: argparse.Namespace) -> int:
    found = teardown.down(Settings.from_environment())
    say("the cluster is gone" if found else "there was no cluster")
    return 0


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
