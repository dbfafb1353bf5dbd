"""The commands of `peersdb-operator benchmark`."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from peersdb_operator import benchmark as benchmarks
from peersdb_operator.bench_cli import standing
from peersdb_operator.bench_cli.screen import Line, print_summary
from peersdb_operator.bench_cli.standing import Summary
from peersdb_operator.bench_local.processes import load_command
from peersdb_operator.bench_local.run import Run, runs
from peersdb_operator.benchmark import Benchmark
from peersdb_operator.errors import BenchmarkError, UsageError
from peersdb_operator.local.commands import find

PAGE, SUMMARY = "report.html", "summary.json"
MAX_SUMMARY = 64 << 20
"""Bytes: a hundred cells with 33 regions' pairs each."""


def run(options: argparse.Namespace) -> int:
    """Run a manifest; gives the exit code."""
    wanted = benchmarks.read(options.filename)
    if _in_kubernetes(options):
        _refuse(options, ("--dataset", options.dataset), ("--load-command", options.load_command))
        return asyncio.run(_run_there(options, wanted))
    _refuse(options, ("--wait", options.wait))
    return _run_here(options, wanted)


def watch(options: argparse.Namespace) -> int:
    """Follow a benchmark in Kubernetes to its end; gives the exit code."""
    return asyncio.run(_watch_there(options.namespace, options.name))


def report(options: argparse.Namespace) -> int:
    """Fetch results if they are elsewhere, and say where the report is."""
    found = _located(options, options.name)
    if found is None:
        found = options.out or Path(f"{options.name}-results")
        for name in asyncio.run(_fetch(options.namespace, options.name, found)):
            sys.stderr.write(f"did not fit into the ConfigMap: {name}\n")
    page = found / PAGE
    if not page.exists():
        raise BenchmarkError(
            f"there is no {PAGE} in {found}: draw it by `python -m loadtests.report {found}`"
        )
    sys.stdout.write(f"{page}\n")
    return 0


def compare(options: argparse.Namespace) -> int:
    """Compare two runs by the load tests' own program; gives its exit code."""
    if importlib.util.find_spec("loadtests") is None:
        raise BenchmarkError("the load tests are not installed here: pip install 'peersdb[loadtests]'")
    with tempfile.TemporaryDirectory(prefix="peersdb-compare-") as work:
        both = []
        for name in (options.before, options.after):
            found = _located(options, name)
            if found is None:
                found = Path(work) / name
                asyncio.run(_fetch(options.namespace, name, found))
            both.append(found)
        command = [sys.executable, "-P", "-m", "loadtests.report", "compare", *map(str, both)]
        command += ["--out", str(options.out)] if options.out else []
        command += ["-o", "json"] if options.output == "json" else []
        command += ["--fail-on-regression"] if options.fail_on_regression else []
        return subprocess.run(command, check=False).returncode


def _in_kubernetes(options: argparse.Namespace) -> bool:
    there = options.kube or options.namespace is not None
    if there and (options.dir is not None or options.cluster is not None):
        raise UsageError(
            "--dir and --cluster mean a local cluster, -n and --kube one in Kubernetes: give one side"
        )
    return bool(there)


def _refuse(options: argparse.Namespace, *given: tuple[str, Any]) -> None:
    where = "on a local cluster" if not _in_kubernetes(options) else "in Kubernetes"
    for name, value in given:
        if value:
            raise UsageError(f"{name} means nothing {where}: leave it out")


def _run_here(options: argparse.Namespace, wanted: Benchmark) -> int:
    try:
        given = shlex.split(options.load_command)
    except ValueError as error:
        raise UsageError(f"--load-command cannot be read: {error}") from error
    state = find(options.dir, options.cluster or wanted.cluster)
    console = Console(stderr=True)
    with Line(console) as line:
        outcome = Run(
            benchmark=wanted,
            state=state,
            command=load_command(given),
            data=options.dataset,
            show=lambda progress, note: line.show(standing.of_progress(progress, note)),
        )(options.out)
    print_summary(Console(), wanted.name, _summary(outcome.directory, passed=outcome.passed))
    sys.stdout.write(f"{outcome.directory / PAGE}\n")
    return 0 if outcome.passed else 1


def _summary(directory: Path, *, passed: bool) -> Summary:
    path = directory / SUMMARY
    try:
        value = json.loads(path.read_bytes()[:MAX_SUMMARY])
    except FileNotFoundError:
        return Summary(False, (), (), (f"there is no {SUMMARY} among the results",))
    except (OSError, ValueError) as error:
        return Summary(False, (), (), (f"{path} cannot be read: {error}",))
    return standing.summary_of_file(value, passed=passed)


async def _run_there(options: argparse.Namespace, wanted: Benchmark) -> int:
    from peersdb_operator.bench_cli import remote  # noqa: PLC0415 - the client takes half a second to import

    namespace = options.namespace or wanted.namespace or remote.default_namespace()
    if wanted.namespace not in (None, namespace):
        raise UsageError(f"the manifest says namespace {wanted.namespace}, and -n {namespace}: make them one")
    async with remote.api() as kube:
        await remote.start(kube, wanted, namespace)
    sys.stderr.write(f"{wanted.name} is asked for in namespace {namespace}\n")
    if not options.wait and options.out is None:
        sys.stderr.write(f"follow it: peersdb-operator benchmark watch {wanted.name} -n {namespace}\n")
        return 0
    code = await _watch_there(namespace, wanted.name)
    if options.out is not None:
        await _fetch(namespace, wanted.name, options.out)
        sys.stdout.write(f"{options.out / PAGE}\n")
    return code


async def _watch_there(namespace: str | None, name: str) -> int:
    from peersdb_operator.bench_cli import remote  # noqa: PLC0415

    console = Console(stderr=True)
    async with remote.api() as kube:
        with Line(console) as line:
            ended = await remote.watch(kube, namespace or remote.default_namespace(), name, line.show)
    status = ended.get("status", {})
    summary = standing.summary_of_status(status)
    print_summary(Console(), name, summary)
    where = ", ".join(f"{kind} {of}" for kind, of in _kept(status))
    if where:
        console.print(Text(f"results: {where}"), soft_wrap=True)
    return 0 if summary.passed else 1


def _kept(status: dict[str, Any]) -> Sequence[tuple[str, str]]:
    results = status.get("results", {})
    return [(kind, results[kind]) for kind in ("configMap", "persistentVolumeClaim") if kind in results]


async def _fetch(namespace: str | None, name: str, out: Path) -> list[str]:
    from peersdb_operator.bench_cli import remote  # noqa: PLC0415

    async with remote.api() as kube:
        return await remote.fetch(kube, namespace or remote.default_namespace(), name, out)


def _located(options: argparse.Namespace, name: str) -> Path | None:
    """Find results that are on this machine: a directory, or the last run of a name on a local cluster.

    Returns:
        None if they are in Kubernetes.
    """
    there = _in_kubernetes(options)
    if Path(name).is_dir():
        return Path(name)
    if there:
        return None
    if options.dir is None and options.cluster is None:
        raise UsageError(
            f"there is no directory {name}: say where the benchmark ran, by -n or --kube, or by --dir or --cluster"
        )
    found = runs(find(options.dir, options.cluster), name)
    if not found:
        raise BenchmarkError(f"no run of {name} on this cluster: peersdb-operator benchmark run -f FILE")
    return found[-1]
