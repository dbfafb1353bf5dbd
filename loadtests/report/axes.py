"""What several figures share: heat maps, distributions, lines over time, legends."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from loadtests.report import summary
from loadtests.report.marks import NOTHING, Marks, mark
from loadtests.report.style import FAILURE, FAINT, HEAT, INK, colours, figure
from loadtests.samples import Sample
from loadtests.statistics import cdf

# From this ratio on the small values of a linear axis can no longer be told apart.
LOG_FROM = 20

# More names no longer stand side by side.
MAX_LEVEL_TICKS = 7

Save = Callable[[Any], None]
"""Takes a figure and writes its files."""

Line = tuple[str, list[float], list[float]]
"""A region, times in seconds, values."""


def heat(axis: Any, grid: Any, sources: Sequence[str], targets: Sequence[str]) -> None:
    """A heat map in milliseconds with its numbers in the cells; both panels have colours of their own."""
    letters = min(10.0, 60 / len(targets))
    finite = grid[np.isfinite(grid)]
    top = float(finite.max()) if finite.size else 1.0
    shown = np.where(np.isfinite(grid), grid, np.nan)
    axis.imshow(shown, cmap=HEAT, vmin=0, vmax=top, aspect="auto")
    for row in range(len(sources)):
        for column in range(len(targets)):
            value = grid[row, column]
            if math.isnan(value):
                text, colour = "none", FAINT
            elif math.isinf(value):
                text, colour = "failed", FAILURE
            else:
                text, colour = summary.duration(value / 1000), "white" if value > 0.6 * top else INK
            weight = "bold" if text == "failed" else "normal"
            axis.text(
                column, row, text, ha="center", va="center", color=colour, weight=weight, fontsize=letters
            )
    axis.set_xticks(range(len(targets)), [broken(target) for target in targets])
    if len(targets) > MAX_LEVEL_TICKS:
        axis.tick_params(axis="x", labelrotation=60)
    axis.set_yticks(range(len(sources)), sources)
    axis.grid(visible=False)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def broken(name: str) -> str:
    """A long name on two lines, as ticks stand side by side."""
    head, dash, tail = name.partition("-")
    return f"{head}{dash}\n{tail}" if len(name) > 10 and dash else name


def cdf_line(axis: Any, samples: Sequence[Sample], **look: Any) -> None:
    """The distribution of samples as a curve; failures keep it below 100 %."""
    values = [sample.response * 1000 for sample in samples if sample.ok]
    ordered, shares = cdf(values, failed=len(samples) - len(values))
    axis.step(ordered, [100 * share for share in shares], where="post", lw=1.8, **look)


def cdf_axes(axis: Any, what: str) -> None:
    """Axes for such curves: a logarithmic one for times in milliseconds, a share in percent."""
    axis.set_xscale("log")
    time_ticks(axis.xaxis, per_second=1000)
    axis.set_ylim(0, 101)
    axis.set_xlabel(what)
    axis.set_ylabel("share at or below (%)")
    legend(axis, loc="lower right", beside=False)


def time_ticks(axis: Any, *, per_second: int, subs: Sequence[int] = (1, 2, 5)) -> None:
    """Ticks with units at ``subs`` of each decade of a logarithmic axis that counts so many per second."""
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value / per_second)))
    axis.set_minor_formatter(NullFormatter())


def _tick(seconds: float) -> str:
    return f"{seconds:g} s" if seconds >= 1 or seconds == 0 else f"{seconds * 1000:g} ms"


def over_time(
    regions: Sequence[str], lines: Sequence[Line], label: str, save: Save, marks: Marks = NOTHING
) -> bool:
    """A figure of lines over time, coloured by region, with what was done meanwhile."""
    if not lines:
        return False
    look = colours(regions)
    weight = {"lw": 0.8, "alpha": 0.6} if len(lines) > 12 else {"lw": 1.6, "alpha": 0.9}
    with figure(height=3.2) as (fig, axis):
        for region, times, values in lines:
            colour, style = look[region]
            axis.plot(
                times,
                values,
                color=colour,
                linestyle=style,
                **weight,
            )
        axis.set_ylim(bottom=0)
        axis.set_xlim(left=0)
        axis.yaxis.set_major_locator(MaxNLocator(6))
        axis.set_xlabel("time since the start (s)")
        axis.set_ylabel(label)
        done = mark(axis, marks)
        legend(
            axis,
            [
                Line2D([], [], color=look[region][0], linestyle=look[region][1], label=region)
                for region in sorted({region for region, _, _ in lines})
            ]
            + done,
        )
        save(fig)
    return True


def legend(axis: Any, handles: Any = None, *, loc: str = "upper left", beside: bool = True) -> None:
    """A legend, by default beside the axes, where it hides nothing."""
    extra: dict[str, Any] = {"handles": handles} if handles else {}
    if beside:
        extra["bbox_to_anchor"] = (1.01, 1)
    axis.legend(loc=loc, **extra)


def handle(colour: str, marker: str | None, label: str, **look: Any) -> Any:
    """A legend's entry for a marker, or with a ``linestyle`` for a line."""
    return Line2D([], [], **{"color": colour, "marker": marker, "linestyle": "", "label": label, **look})


def scale(axis: Any, which: str, values: Sequence[float]) -> None:
    """The scale of times in seconds: logarithmic where they differ much, else from zero."""
    found = [value for value in values if math.isfinite(value) and value > 0]
    line = axis.xaxis if which == "x" else axis.yaxis
    if found and max(found) >= LOG_FROM * min(found):
        axis.set(**{f"{which}scale": "log"})
        edges = (min(found) / 1.4, max(found) * 1.4)
        axis.set(**{f"{which}lim": edges})
        decades = math.log10(edges[1] / edges[0])
        time_ticks(line, per_second=1, subs=(1, 2, 5) if decades < 2.2 else (1, 3) if decades < 3.2 else (1,))
        return
    axis.set(**{f"{which}lim": (0, max(found, default=1.0) * 1.08)})
    line.set_major_locator(MaxNLocator(6))
    line.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
