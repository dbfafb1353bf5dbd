"""``python -m loadtests.report compare A B``: a table on the terminal, and one page with the distributions."""

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

from loadtests.errors import LoadTestError
from loadtests.report.comparison import (
    BETTER,
    INCOMPARABLE,
    SAME,
    WORSE,
    Change,
    Comparison,
    Side,
    compare,
)
from loadtests.report.comparison_figures import draw
from loadtests.report.data import Results, load
from loadtests.report.headline import METRICS
from loadtests.report.page import inline_svg, template
from loadtests.report.units import figure, times

COMPARE_FILE = "compare.html"
TEMPLATE = "compare.html.j2"
COLUMNS = ("metric", "first", "second", "second/first", "difference", "verdict")


def main(arguments: list[str]) -> int:
    """The command. Returns 0; 1 with ``--fail-on-regression`` if something is worse; 2 if nothing could be
    compared where that was asked for, or the runs cannot be read.
    """
    options = parser().parse_args(arguments)
    try:
        runs = (load(options.first), load(options.second))
        compared = compare(*runs, confidence=options.confidence / 100)
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            (options.out / COMPARE_FILE).write_text(page(compared, runs), encoding="utf-8")
    except (LoadTestError, OSError) as error:
        sys.stderr.write(f"compare: {error}\n")
        return 2
    sys.stdout.write(
        json.dumps(as_json(compared), indent=2) + "\n" if options.output == "json" else text(compared)
    )
    if options.fail_on_regression and compared.regressed:
        return 1
    if options.fail_on_regression and not compared.comparable:
        sys.stderr.write("compare: no metric of these runs can be compared\n")
        return 2
    return 0


def text(compared: Comparison) -> str:
    """The comparison for a terminal."""
    lines = []
    for name, side in (("first ", compared.before), ("second", compared.after)):
        lines.append(f"{name}  {side.title}: {'passed' if side.passed else 'FAILED'}")
        lines += [f"          {problem}" for problem in (*side.problems, *side.missed)]
    lines += [f"differs: {one.what}: {one.before} -> {one.after}" for one in compared.differences]
    for cell in dict.fromkeys(one.cell for one in compared.changes):
        rows = [COLUMNS, *(_row(one) for one in compared.changes if one.cell == cell)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS) - 1)]
        lines += ["", *([f"{cell}:"] if cell else [])]
        for row in rows:
            cells = [row[0].ljust(widths[0])]
            cells += [one.rjust(width) for one, width in zip(row[1:-1], widths[1:], strict=True)]
            lines.append("  ".join([*cells, row[-1]]))
    lines += ["", in_short(compared)]
    return "\n".join(lines) + "\n"


def in_short(compared: Comparison) -> str:
    """The comparison in one line."""
    counts = [f"{compared.count(verdict)} {verdict}" for verdict in (WORSE, BETTER, SAME, INCOMPARABLE)]
    return f"{', '.join(counts)}; intervals of {compared.confidence * 100:g} %"


def as_json(compared: Comparison) -> dict[str, Any]:
    """The comparison for programs; seconds, bytes, percent; null where there is no finite value."""
    return {
        "first": _side(compared.before),
        "second": _side(compared.after),
        "confidence": compared.confidence,
        "regressed": compared.regressed,
        "differences": [vars(one) for one in compared.differences],
        "changes": [
            {
                "cell": one.cell,
                "metric": one.metric,
                "first": _number(one.before),
                "second": _number(one.after),
                "ratio": _number(one.ratio),
                "interval": [_number(edge) for edge in one.interval] if one.interval else None,
                "method": one.method,
                "verdict": one.verdict,
                "why": one.why,
            }
            for one in compared.changes
        ],
    }


def page(compared: Comparison, runs: tuple[Results, Results]) -> str:
    """The comparison as one HTML file."""
    with tempfile.TemporaryDirectory() as place:
        plots = [
            (title, inline_svg(path, path.stem)) for title, path in draw(compared, runs, Path(place)).items()
        ]
    return template(TEMPLATE).render(
        compared=compared,
        short=in_short(compared),
        plots=plots,
        groups=[
            (cell, [(one, _row(one)) for one in compared.changes if one.cell == cell])
            for cell in dict.fromkeys(one.cell for one in compared.changes)
        ],
    )


def parser() -> argparse.ArgumentParser:
    """The options of a comparison."""
    found = argparse.ArgumentParser(
        prog="python -m loadtests.report compare",
        description="What changed from run A to run B, and whether beyond noise.",
    )
    found.add_argument("first", type=Path, metavar="A", help="the directory of the earlier run")
    found.add_argument("second", type=Path, metavar="B", help="the directory of the later run")
    found.add_argument("--out", type=Path, metavar="DIR", help=f"write {COMPARE_FILE} there")
    found.add_argument("-o", "--output", choices=("text", "json"), default="text", help="on the terminal")
    found.add_argument(
        "--confidence", type=_percent, default=95.0, metavar="PERCENT", help="of the intervals (default: 95)"
    )
    found.add_argument(
        "--fail-on-regression",
        action="store_true",
        help="exit code 1 if a metric is worse or B does not pass where A did, 2 if nothing can be compared",
    )
    return found


def _percent(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 50 <= value < 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no confidence from 50 to below 100 percent")
    return value


def _row(one: Change) -> tuple[str, ...]:
    unit = METRICS[one.metric].unit
    interval = " to ".join(_signed(edge, unit) for edge in one.interval) if one.interval else ""
    why = f" ({one.why})" if one.why else ""
    return (
        one.metric,
        figure(one.before, unit),
        figure(one.after, unit),
        times(one.ratio) if not math.isnan(one.ratio) else "",
        interval,
        f"{one.verdict}{why}",
    )


def _signed(value: float, unit: str) -> str:
    return f"{'-' if value < 0 else '+'}{figure(abs(value), unit)}"


def _side(side: Side) -> dict[str, Any]:
    return {"title": side.title, "passed": side.passed, "problems": [*side.problems, *side.missed]}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
