"""Figures of a comparison: the distributions of both runs in one picture, and the changes with their noise."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loadtests.report import headline
from loadtests.report.axes import cdf_axes, cdf_line
from loadtests.report.comparison import BETTER, INCOMPARABLE, SAME, WORSE, Change, Comparison
from loadtests.report.data import Results
from loadtests.report.style import FAILURE, FAINT, INK, PALETTE, figure
from loadtests.report.summary import NAMES
from loadtests.samples import Sample, of_kind

FIRST, SECOND = (PALETTE[0], "-"), (PALETTE[1], "--")
_COLOURS = {BETTER: PALETTE[2], WORSE: FAILURE, SAME: FAINT, INCOMPARABLE: FAINT}
# Beyond a hundredfold the number stands in the table, and the others would become invisible.
MAX_CHANGE = 100.0


def draw(compared: Comparison, runs: tuple[Results, Results], directory: Path) -> dict[str, Path]:
    """Draw what there is data for as SVG into a directory. Returns the files by their titles."""
    files = {}
    shown = [one for one in compared.changes if _bar(one) is not None]
    if shown:
        files["Changes and their noise"] = directory / "changes.svg"
        _changes(shown, files["Changes and their noise"])
    samples = _common(runs)
    for kind, name in NAMES.items():
        found = tuple(of_kind(one, kind) for one in samples)
        if all(found):
            title = f"Distribution of {name}"
            files[title] = directory / f"cdf-{kind}.svg"
            _distribution(found, name, files[title])
    return files


def _common(runs: tuple[Results, Results]) -> tuple[list[Sample], list[Sample]]:
    """The samples of the cells that both have."""
    groups = [headline.by_cell(run.parts) for run in runs]
    first, second = (
        [sample for cell, parts in mine.items() if cell in other for part in parts for sample in part.samples]
        for mine, other in (groups, groups[::-1])
    )
    return first, second


def _distribution(found: Sequence[Sequence[Sample]], name: str, path: Path) -> None:
    with figure(height=3.0) as (fig, axis):
        for samples, (colour, style), label in zip(found, (FIRST, SECOND), ("first", "second"), strict=True):
            cdf_line(axis, samples, label=f"{label} ({len(samples)})", color=colour, linestyle=style)
        cdf_axes(axis, f"time of {name}")
        _save(fig, path)


def _changes(changes: Sequence[Change], path: Path) -> None:
    """Each metric's change as a multiple of the first run's value, with its interval."""
    with figure(height=0.9 + 0.26 * max(3, len(changes))) as (fig, axis):
        for row, one in enumerate(changes):
            low, high = _bar(one) or (1.0, 1.0)
            colour = _COLOURS[one.verdict]
            axis.plot([low, high], [row, row], color=colour, lw=3, solid_capstyle="butt")
            axis.plot((low + high) / 2, row, "o", color=colour, ms=5)
        axis.axvline(1, color=INK, lw=1)
        axis.set_yticks(
            range(len(changes)), [f"{one.metric} {f'({one.cell})' if one.cell else ''}" for one in changes]
        )
        axis.set_ylim(len(changes) - 0.4, -0.6)
        axis.grid(visible=False, axis="y")
        axis.set_xlabel("second run as a multiple of the first, with its interval")
        _save(fig, path)


def _bar(one: Change) -> tuple[float, float] | None:
    """The interval as multiples of the first run's value, where that can be drawn."""
    if one.interval is None or not one.before > 0 or math.isinf(one.before):
        return None
    low, high = (1 + edge / one.before for edge in one.interval)
    return (low, high) if all(map(math.isfinite, (low, high))) and high <= MAX_CHANGE else None


def _save(fig: Any, path: Path) -> None:
    fig.savefig(path, metadata={"Date": None})
