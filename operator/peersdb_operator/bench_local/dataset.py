"""The data set of a benchmark on this machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from peersdb_operator import load
from peersdb_operator.benchmark import Benchmark
from peersdb_operator.errors import BenchmarkError

FETCH_SECONDS = 600.0
"""For a data set to be downloaded and unpacked."""


def check(benchmark: Benchmark, override: Path | None) -> None:
    """Refuse what one machine does not have.

    Raises:
        BenchmarkError: the data set is in Kubernetes, or the directory in its place is none.
    """
    if override is not None:
        if not override.is_dir():
            raise BenchmarkError(f"--dataset {override} is no directory")
        return
    if benchmark.dataset is not None and benchmark.dataset.kind in {"configMap", "persistentVolumeClaim"}:
        raise BenchmarkError(
            f"spec.dataset.{benchmark.dataset.kind} {benchmark.dataset.name!r} is in Kubernetes, not on this machine:"
            " give its files by --dataset DIR, or use spec.dataset.url or generated"
        )


def arguments(benchmark: Benchmark, override: Path | None, directory: Path) -> list[str]:
    """Give the load test's arguments for the data set; what lies behind a URL is fetched into a directory first.

    Raises:
        BenchmarkError: it cannot be fetched, or is another one.
    """
    if override is not None:
        return ["--dataset", str(override.absolute())]
    if benchmark.dataset is not None and benchmark.dataset.kind == "url":
        directory.mkdir()
        _fetch(benchmark.dataset.url, benchmark.dataset.sha256, directory)
    return load.dataset_arguments(benchmark, str(directory))


def _fetch(url: str, sha256: str, directory: Path) -> None:
    command = [sys.executable, "-P", "-m", "loadtests.fetch", url, sha256, str(directory)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"the data set {url} was not there within {FETCH_SECONDS:g} s") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or [f"code {done.returncode}"]
        raise BenchmarkError(f"the data set {url} cannot be fetched: {said[0]}")
