"""``python -m loadtests.report DIR``: draw the report of a run again, or one of a ``benchmark.json``.

``python -m loadtests.report compare A B``: what changed from one run to another, and whether beyond noise.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from loadtests.errors import LoadTestError, ResultsError
from loadtests.report import comparison_command
from loadtests.report.data import Published, Results, load, read_benchmarks
from loadtests.report.page import render
from loadtests.report.paper import OURS
from loadtests.report.plots import draw_all
from loadtests.report.run_data import latency_of
from loadtests.report.summary import verdict
from loadtests.report.summary_file import table

PAGE_FILE = "report.html"
SUMMARY_FILE = "summary.json"


def build(source: Path, out: Path, *, beside: Sequence[str] = (), latency: Path | None = None) -> Path:
    """Draw the report of the results in ``source`` (a directory, or a ``benchmark.json``) into ``out``.

    Args:
        source: the results.
        out: where to write; made if it is not there.
        beside: published results, each ``FILE`` or ``FILE=LABEL`` of a ``benchmark.json``.
        latency: round trips as JSON, ``{"regionA/regionB": milliseconds}``, in place of those of the run.

    Returns:
        The page.

    Raises:
        ResultsError: the results cannot be read.
        OSError: the report cannot be written.
    """
    return draw(read(source, beside=beside, latency=latency), out)


def read(source: Path, *, beside: Sequence[str] = (), latency: Path | None = None) -> Results:
    """The results and what stands beside them; see ``build``.

    Raises:
        ResultsError: something cannot be read.
    """
    results = load(source)
    published = tuple(map(published_of, beside))
    labels = [one.label for one in published]
    if len(set(labels)) < len(labels) or set(labels) & set(OURS):
        raise ResultsError("published results need different labels: --beside FILE=LABEL")
    if latency is not None:
        results = replace(results, described=replace(results.described, latency=_latency(latency)))
    return replace(results, published=published)


def draw(results: Results, out: Path) -> Path:
    """Draw plots, page and ``summary.json`` into a directory. Returns the page.

    Raises:
        OSError: the report cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    plots = draw_all(results, out)
    (out / SUMMARY_FILE).write_text(json.dumps(table(results), indent=2) + "\n", encoding="utf-8")
    page = out / PAGE_FILE
    page.write_text(render(results, plots, out), encoding="utf-8")
    return page


def published_of(argument: str) -> Published:
    """``FILE`` or ``FILE=LABEL``; without a label the file's name is it.

    Raises:
        ResultsError: the file cannot be read.
    """
    name, equals, label = argument.rpartition("=")
    if not equals or Path(argument).is_file():
        name, label = argument, Path(argument).stem
    return Published(label, read_benchmarks(Path(name)))


def parser() -> argparse.ArgumentParser:
    """The options of drawing a report."""
    found = argparse.ArgumentParser(
        prog="python -m loadtests.report",
        description="Draw the report of a run. Another command: compare A B (compare --help).",
    )
    found.add_argument("source", type=Path, help="the directory of a run, or a benchmark.json")
    found.add_argument("--out", type=Path, help="where to write (default: beside the results)")
    found.add_argument(
        "--beside",
        action="append",
        default=[],
        metavar="FILE[=LABEL]",
        help="published results, a benchmark.json of the original, to stand beside ours; may be given again",
    )
    found.add_argument(
        "--latency",
        type=Path,
        metavar="FILE",
        help='round trips between regions as JSON: {"regionA/regionB": milliseconds}',
    )
    return found


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns 0, or 2 if there is nothing to draw; that a run failed stands in its report."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["compare"]:
        return comparison_command.main(arguments[1:])
    options = parser().parse_args(arguments)
    source: Path = options.source
    out: Path = options.out or (source if source.is_dir() else source.parent / f"{source.stem}-report")
    try:
        results = read(source, beside=options.beside, latency=options.latency)
        page = draw(results, out)
        judged = verdict(results)
    except (LoadTestError, OSError) as error:
        sys.stderr.write(f"report: {error}\n")
        return 2
    sys.stdout.write(f"{'passed' if judged.passed else 'FAILED'}: {page}\n")
    return 0


def _latency(path: Path) -> dict[str, float]:
    try:
        return latency_of(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ResultsError(f"cannot read round trips from {path}: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
