"""``python -m loadtests.report DIR``: draw the report of a run again, or one of a ``benchmark.json``."""

import argparse
import json
import sys
from pathlib import Path

from loadtests.errors import LoadTestError
from loadtests.report.data import load
from loadtests.report.page import render, table
from loadtests.report.plots import draw_all
from loadtests.report.summary import verdict

PAGE_FILE = "report.html"
SUMMARY_FILE = "summary.json"


def build(source: Path, out: Path) -> Path:
    """Draw the report of the results in ``source`` (a directory, or a ``benchmark.json``) into ``out``.

    Returns:
        The page.

    Raises:
        ResultsError: the results cannot be read.
        OSError: the report cannot be written.
    """
    results = load(source)
    out.mkdir(parents=True, exist_ok=True)
    plots = draw_all(results, out)
    (out / SUMMARY_FILE).write_text(json.dumps(table(results), indent=2) + "\n", encoding="utf-8")
    page = out / PAGE_FILE
    page.write_text(render(results, plots, out), encoding="utf-8")
    return page


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns 0, or 2 if there is nothing to draw; that a run failed stands in its report."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.report", description=__doc__)
    parser.add_argument("source", type=Path, help="the directory of a run, or a benchmark.json")
    parser.add_argument("--out", type=Path, help="where to write (default: beside the results)")
    options = parser.parse_args(arguments)
    source: Path = options.source
    out: Path = options.out or (source if source.is_dir() else source.parent / f"{source.stem}-report")
    try:
        page = build(source, out)
        judged = verdict(load(source))
    except (LoadTestError, OSError) as error:
        sys.stderr.write(f"report: {error}\n")
        return 2
    sys.stdout.write(f"{'passed' if judged.passed else 'FAILED'}: {page}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
