"""The command line of `peersdb-operator benchmark`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

EXAMPLES = """\
examples:
  peersdb-operator benchmark run -f deploy/samples/benchmark.yaml          on the local cluster that it names
  peersdb-operator benchmark run -f deploy/samples/benchmark.yaml --kube   by the operator in Kubernetes
  peersdb-operator benchmark watch quickstart-contribution                 how it stands, until its end
  peersdb-operator benchmark report quickstart-contribution --kube         its results, here
  peersdb-operator benchmark compare before/ after/                        what changed, and whether beyond noise

exit codes: 0 passed; 1 a threshold was missed, or it failed; 2 wrong arguments; 130 interrupted
"""


def add(commands: Any) -> None:
    """Add the command and its own commands to the operator's."""
    parser = commands.add_parser(
        "benchmark",
        help="measure a cluster by a PeersDBBenchmark manifest",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    below = parser.add_subparsers(metavar="COMMAND", required=True)

    run = below.add_parser("run", help="run a manifest: on a local cluster, or by the operator in Kubernetes")
    run.add_argument("-f", "--filename", type=Path, required=True, metavar="FILE", help="the manifest")
    _place(run)
    run.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where results go (default: below the local cluster's directory; in Kubernetes: nowhere yet)",
    )
    run.add_argument("--wait", action="store_true", help="in Kubernetes: stay to the end, as `watch` does")
    run.add_argument(
        "--dataset", type=Path, metavar="DIR", help="local: post these files in place of spec.dataset's"
    )
    run.add_argument(
        "--load-command",
        metavar="COMMAND",
        default="",
        help="local: the load test's program (default: the installed load tests, by locust)",
    )
    run.set_defaults(run=_run)

    watch = below.add_parser("watch", help="how a benchmark in Kubernetes stands, until its end")
    watch.add_argument("name", metavar="NAME")
    _namespace(watch)
    watch.set_defaults(run=_watch)

    report = below.add_parser("report", help="fetch the results of a benchmark, and say where its report is")
    report.add_argument("name", metavar="NAME|DIR", help="a benchmark's name, or a directory of results")
    _place(report)
    report.add_argument(
        "--out", type=Path, metavar="DIR", help="where results from Kubernetes go (default: NAME-results)"
    )
    report.set_defaults(run=_report)

    compare = below.add_parser(
        "compare", help="what changed from one run to another, and whether beyond noise"
    )
    for place in ("before", "after"):
        compare.add_argument(place, metavar="NAME|DIR", help="a benchmark's name, or a directory of results")
    _place(compare)
    compare.add_argument("--out", type=Path, metavar="DIR", help="write the comparison as a page to here too")
    compare.add_argument(
        "-o", "--output", choices=["text", "json"], default="text", help="format (default: text)"
    )
    compare.add_argument(
        "--fail-on-regression", action="store_true", help="exit with 1 if something got worse beyond noise"
    )
    compare.set_defaults(run=_compare)


def _place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dir", type=Path, metavar="DIR", help="a local cluster, by its directory")
    parser.add_argument("--cluster", metavar="NAME", help="a local cluster, by its name")
    _namespace(parser)
    parser.add_argument(
        "--kube", action="store_true", help="in Kubernetes, in the kubeconfig's own namespace"
    )


def _namespace(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", "--namespace", metavar="NAMESPACE", help="in Kubernetes, in this namespace")


def _run(options: argparse.Namespace) -> int:
    from peersdb_operator.bench_cli import commands  # noqa: PLC0415 - each command imports what it uses

    return commands.run(options)


def _watch(options: argparse.Namespace) -> int:
    from peersdb_operator.bench_cli import commands  # noqa: PLC0415

    return commands.watch(options)


def _report(options: argparse.Namespace) -> int:
    from peersdb_operator.bench_cli import commands  # noqa: PLC0415

    return commands.report(options)


def _compare(options: argparse.Namespace) -> int:
    from peersdb_operator.bench_cli import commands  # noqa: PLC0415

    return commands.compare(options)
