"""The command line of the operator."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from peersdb_operator import cluster as clusters
from peersdb_operator import manifests, names
from peersdb_operator.bench_cli import options as benchmark_options
from peersdb_operator.errors import ManifestError, OperatorError, UsageError

_EXAMPLES = """\
examples:
  peersdb-operator check -f deploy/samples/quickstart.yaml    every fault of a manifest, with its place
  peersdb-operator build -f cluster.yaml | kubectl apply -f - the Kubernetes objects it means
  peersdb-operator run                                        look after all clusters of a Kubernetes cluster
  peersdb-operator local up -f cluster.yaml                   the same cluster as processes of this machine
  peersdb-operator local status                               its members, their addresses and how they stand
  peersdb-operator local scale eu=3                           three peers in region eu until the next `up`
  peersdb-operator local logs eu-0 -f                         what a member says
  peersdb-operator local down                                 end it; --delete-data forgets it too
  peersdb-operator benchmark run -f benchmark.yaml            measure it; in Kubernetes with --kube

exit codes: 0 done; 1 the manifest is refused, the cluster is not ready, a benchmark failed; 2 wrong arguments;
  130 interrupted
"""
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the command line without the program's name; by default the process's own.

    Returns:
        the exit code.
    """
    options = _parser().parse_args(arguments)
    # A command that is asked to end does what it does on Ctrl-C: it takes back what it began.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _interrupt)
    try:
        return int(options.run(options))
    except OperatorError as error:
        sys.stderr.write(f"{_prefixed(error)}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output is gone, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _prefixed(error: OperatorError) -> str:
    return str(error) if isinstance(error, ManifestError) else f"peersdb-operator: {error}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="peersdb-operator",
        description="PeersDB by manifests: check one, make Kubernetes objects of it, run it here, measure it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    check = commands.add_parser("check", help="say every fault of a manifest, with its place")
    _manifest_option(check)
    check.add_argument(
        "--was", type=Path, metavar="OLD", help="the manifest in force: refuse changes that are not allowed"
    )
    check.set_defaults(run=_check)

    build = commands.add_parser("build", help="print the Kubernetes objects that a manifest means")
    _manifest_option(build)
    build.add_argument(
        "-o", "--output", choices=["yaml", "json"], default="yaml", help="format (default: yaml)"
    )
    build.add_argument(
        "--store", metavar="ADDRESS", help="address of the contributions store, if it exists already"
    )
    build.add_argument(
        "--operator-namespace",
        default=names.OPERATOR_NAMESPACE,
        metavar="NAMESPACE",
        help=f"where the operator runs, for the NetworkPolicy (default: {names.OPERATOR_NAMESPACE})",
    )
    build.set_defaults(run=_build)

    crd = commands.add_parser(
        "crd", help="print the resources' definitions, for kubectl or as a reference to read"
    )
    crd.add_argument(
        "-o", "--output", choices=["yaml", "markdown"], default="yaml", help="format (default: yaml)"
    )
    crd.set_defaults(run=_crd)

    run = commands.add_parser(
        "run",
        help="look after the clusters of a Kubernetes cluster (KUBECONFIG, or the pod's own)",
        description="Look after all PeersDBClusters: what deploy/ starts in a pod, or a developer at a terminal.",
    )
    run.add_argument(
        "-n",
        "--namespace",
        action="append",
        default=[],
        metavar="NAMESPACE",
        help="look after this namespace only; may be given several times (default: all)",
    )
    run.add_argument(
        "--health",
        default="http://0.0.0.0:8080/healthz",
        metavar="URL",
        help="where the health endpoint listens (default: http://0.0.0.0:8080/healthz)",
    )
    run.add_argument(
        "--metrics",
        type=_host_port,
        default=("0.0.0.0", 8081),
        metavar="HOST:PORT",
        help="where metrics for Prometheus are served (default: 0.0.0.0:8081)",
    )
    run.add_argument(
        "--no-election",
        action="store_true",
        help="do not stand for election: this must be the only operator",
    )
    run.add_argument("-v", "--verbose", action="store_true", help="log in detail")
    run.set_defaults(run=_run)

    local = commands.add_parser("local", help="run a manifest as processes of this machine")
    _local_commands(local.add_subparsers(metavar="COMMAND", required=True))

    benchmark_options.add(commands)

    supervise = commands.add_parser("supervise")  # started by `local up`; not for people, so without help
    supervise.add_argument("directory", type=Path)
    supervise.add_argument("ready", type=int)
    supervise.set_defaults(run=_supervise)
    return parser


def _local_commands(commands: Any) -> None:
    up = commands.add_parser("up", help="make this machine what the manifest says; returns when all is ready")
    _manifest_option(up)
    up.add_argument(
        "--dir",
        type=Path,
        metavar="DIR",
        help="where the cluster keeps all (default: below ~/.local/state/peersdb)",
    )
    up.add_argument("--foreground", action="store_true", help="stay, and end the cluster on Ctrl-C")
    up.add_argument(
        "--node-command",
        metavar="COMMAND",
        default="",
        help="the node's program (default: the installed peersdb)",
    )
    _timeout_option(up)
    up.set_defaults(run=_up)

    status = commands.add_parser("status", help="how the cluster and its members stand")
    _cluster_options(status)
    status.add_argument(
        "-o",
        "--output",
        choices=["table", "wide", "json", "yaml"],
        default="table",
        help="format (default: table)",
    )
    status.set_defaults(run=_status)

    scale = commands.add_parser("scale", help="other numbers of peers until the next `up`; data is kept")
    scale.add_argument(
        "replicas", nargs="+", type=_region_count, metavar="REGION=N", help="so many peers in a region"
    )
    _cluster_options(scale)
    _timeout_option(scale)
    scale.set_defaults(run=_scale)

    logs = commands.add_parser("logs", help="what a member wrote; `supervisor` for the supervisor")
    logs.add_argument("member", metavar="MEMBER", help="its name, as `status` lists it")
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what is added")
    logs.add_argument("-n", "--lines", type=int, default=100, help="how many lines back (default: 100)")
    _cluster_options(logs)
    logs.set_defaults(run=_logs)

    down = commands.add_parser("down", help="end all processes; data stays")
    _cluster_options(down)
    down.add_argument("--delete-data", action="store_true", help="delete the members' data too")
    down.set_defaults(run=_down)


def _manifest_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--filename", type=Path, required=True, metavar="FILE", help="the manifest")


def _cluster_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dir", type=Path, metavar="DIR", help="the cluster's directory, if `up` was given one"
    )
    parser.add_argument("--cluster", metavar="NAME", help="the cluster's name (default: the only one)")


def _timeout_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout", type=_seconds, default=120.0, metavar="S", help="seconds to wait (default: 120)"
    )


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= 86400:
        raise argparse.ArgumentTypeError("must be more than 0 and at most 86400 seconds")
    return value


def _host_port(text: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not (separator and host and port.isdigit() and int(port) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:8081")
    return host.strip("[]"), int(port)


def _region_count(text: str) -> tuple[str, int]:
    region, separator, count = text.partition("=")
    if not (separator and region and count.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not REGION=N, such as eu=3")
    return region, int(count)


def _check(options: argparse.Namespace) -> int:
    wanted = manifests.read(options.filename)
    if options.was is not None:
        manifests.check_change(wanted, manifests.read(options.was), str(options.filename))
    sys.stdout.write(f"{options.filename}: valid, {manifests.describe(wanted)}\n")
    return 0


def _build(options: argparse.Namespace) -> int:
    from peersdb_operator import builders  # noqa: PLC0415 - each command imports what it uses: starting is most of its time

    facts = builders.Facts(options.store, options.operator_namespace)
    objects = builders.build(clusters.read(options.filename), facts)
    if options.output == "json":
        json.dump({"apiVersion": "v1", "kind": "List", "items": objects}, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        _dump_yaml(objects)
    return 0


def _run(options: argparse.Namespace) -> int:
    from peersdb_operator.kube import run  # noqa: PLC0415

    run.run(
        tuple(options.namespace),
        health=options.health,
        metrics=options.metrics,
        elect=not options.no_election,
        verbose=options.verbose,
    )
    return 0


def _crd(options: argparse.Namespace) -> int:
    from peersdb_operator import definition, reference  # noqa: PLC0415

    if options.output == "markdown":
        sys.stdout.write(reference.markdown())
    else:
        _dump_yaml([resource.definition() for resource in definition.RESOURCES])
    return 0


def _up(options: argparse.Namespace) -> int:
    from rich.console import Console  # noqa: PLC0415

    from peersdb_operator.local import commands, progress  # noqa: PLC0415

    cluster = clusters.read(options.filename)
    try:
        command = shlex.split(options.node_command)
    except ValueError as error:
        raise UsageError(f"--node-command cannot be read: {error}") from error
    view = commands.up(
        cluster,
        directory=options.dir,
        node_command=command,
        timeout=options.timeout,
        foreground=options.foreground,
        console=Console(stderr=True),
    )
    if not options.foreground:
        progress.print_status(Console(), view)
    return 0


def _status(options: argparse.Namespace) -> int:
    from peersdb_operator.local import commands  # noqa: PLC0415

    view = commands.look(commands.find(options.dir, options.cluster))
    if options.output == "json":
        json.dump(view, sys.stdout, indent=2)
        sys.stdout.write("\n")
    elif options.output == "yaml":
        _dump_yaml([view])
    else:
        from rich.console import Console  # noqa: PLC0415

        from peersdb_operator.local import progress  # noqa: PLC0415

        progress.print_status(Console(), view, wide=options.output == "wide")
    return 0


def _scale(options: argparse.Namespace) -> int:
    from rich.console import Console  # noqa: PLC0415

    from peersdb_operator.local import commands, progress  # noqa: PLC0415

    state = commands.find(options.dir, options.cluster)
    view = commands.scale(
        state, dict(options.replicas), timeout=options.timeout, console=Console(stderr=True)
    )
    progress.print_status(Console(), view)
    return 0


def _logs(options: argparse.Namespace) -> int:
    from peersdb_operator.local import commands  # noqa: PLC0415

    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    state = commands.find(options.dir, options.cluster)
    commands.logs(state, options.member, lines=options.lines, following=options.follow, write=write)
    return 0


def _down(options: argparse.Namespace) -> int:
    from peersdb_operator.local import commands  # noqa: PLC0415

    state = commands.find(options.dir, options.cluster)
    killed = commands.down(state, delete_data=options.delete_data)
    note = f" ({killed} had to be killed)" if killed else ""
    sys.stderr.write(f"ended{note}; data {'deleted' if options.delete_data else f'kept in {state.path}'}\n")
    return 0


def _supervise(options: argparse.Namespace) -> int:
    from peersdb_operator.local import supervisor  # noqa: PLC0415

    return supervisor.main(options.directory, options.ready)


def _dump_yaml(documents: Sequence[Any]) -> None:
    import yaml  # noqa: PLC0415

    class Plain(yaml.SafeDumper):
        """Writes values out each time: anchors are for programs."""

        def ignore_aliases(self, _data: object) -> bool:
            return True

    several = len(documents) > 1
    yaml.dump_all(documents, sys.stdout, Plain, sort_keys=False, explicit_start=several, width=110)


if __name__ == "__main__":
    sys.exit(main())
