"""Figures of what the load generator measured. Each saves one, or says by False that there is nothing to
draw.
"""

import math

import numpy as np

from loadtests.report import summary
from loadtests.report.axes import Save, cdf_axes, cdf_line, heat, legend
from loadtests.report.data import Results
from loadtests.report.marks import mark, marks_of
from loadtests.report.style import FAILURE, INK, LINE_STYLES, PALETTE, colours, figure
from loadtests.samples import JOIN, REPLICATION, of_kind
from loadtests.statistics import percentile

# Wide enough to be more than noise, narrow enough to show a dip.
MAX_BINS = 120
# What two panels of 9 inches together have room for.
MAX_TICK_LETTERS = 30
# More are no longer read one by one.
MAX_BARS = 30


def replication_heat(results: Results, save: Save) -> bool:
    """Median and p99 by region pair."""
    pairs = summary.pairs(results.samples)
    if not pairs:
        return False
    sources = sorted({pair.source for pair in pairs})
    targets = sorted({pair.target for pair in pairs})
    # Side by side as long as labels and numbers have room.
    stacked = sum(map(len, targets)) > MAX_TICK_LETTERS
    panel = 0.5 + (0.42 if stacked else 0.62) * max(2, len(sources))
    shape = (2, 1, 2 * panel + 1.2) if stacked else (1, 2, panel + 0.8)
    with figure(*shape[:2], height=shape[2]) as (fig, axes):
        for axis, title in zip(axes, ("median", "99th percentile"), strict=True):
            grid = np.full((len(sources), len(targets)), np.nan)
            for pair in pairs:
                value = pair.summary.p50 if title == "median" else pair.summary.p99
                grid[sources.index(pair.source), targets.index(pair.target)] = value * 1000
            heat(axis, grid, sources, targets)
            axis.set_title(title)
            axis.set_ylabel("posted in region" if stacked or axis is axes[0] else "")
            axis.set_xlabel("seen in region" if not stacked or axis is axes[1] else "")
        save(fig)
    return True


def replication_cdf(results: Results, save: Save) -> bool:
    """The distribution for each region that entries were posted in."""
    found = of_kind(results.samples, REPLICATION)
    if not found:
        return False
    look = colours(results.regions)
    with figure(height=3.2) as (fig, axis):
        for source in sorted({sample.source_region for sample in found}):
            colour, style = look[source]
            mine = [sample for sample in found if sample.source_region == source]
            cdf_line(axis, mine, label=f"posted in {source}", color=colour, linestyle=style)
        cdf_axes(axis, "time until another node's query has the entry")
        save(fig)
    return True


def bootstrap(results: Results, save: Save) -> bool:
    """One bar per newcomer."""
    joins = sorted(of_kind(results.samples, JOIN), key=lambda sample: sample.ts)
    if not joins:
        return False
    look = colours(results.regions)
    if len(joins) > MAX_BARS:
        return False  # figure 1 shows them
    with figure(height=1.1 + 0.42 * max(2, len(joins))) as (fig, axis):
        for index, sample in enumerate(joins):
            if sample.ok:
                axis.barh(index, sample.seconds, color=look[sample.target_region][0], height=0.62)
                text, colour = f" {summary.duration(sample.seconds)}", INK
            else:
                axis.barh(index, sample.seconds, color="white", edgecolor=FAILURE, hatch="///", height=0.62)
                text, colour = f" failed after {summary.duration(sample.seconds)}", FAILURE
            axis.text(sample.seconds, index, text, va="center", color=colour)
        axis.set_yticks(
            range(len(joins)),
            [f"newcomer {index + 1}, region {sample.target_region}" for index, sample in enumerate(joins)],
        )
        axis.invert_yaxis()
        axis.grid(visible=False, axis="y")
        axis.margins(x=0.18)
        axis.set_xlim(left=0)
        axis.set_xlabel("start of the process until it has all earlier entries (s)")
        save(fig)
    return True


def throughput(results: Results, save: Save) -> bool:
    """Requests that ended, and failures, over time."""
    asked = [sample for sample in results.samples if sample.kind in summary.REQUESTS]
    if not asked:
        return False
    ends = [sample.ts + sample.seconds - results.begin for sample in asked]
    width = max(1.0, math.ceil(max(ends) / MAX_BINS))
    edges = np.arange(0, max(ends) + width, width)
    with figure(height=3.2) as (fig, axis):
        for index, kind in enumerate(summary.REQUESTS):
            done = [end for sample, end in zip(asked, ends, strict=True) if sample.kind == kind and sample.ok]
            if done:
                counts, _ = np.histogram(done, edges)
                look = {"color": PALETTE[index], "linestyle": LINE_STYLES[index], "lw": 1.8}
                axis.stairs(counts / width, edges, baseline=None, label=kind, **look)
        bad = [end for sample, end in zip(asked, ends, strict=True) if not sample.ok]
        if bad:
            counts, _ = np.histogram(bad, edges)
            axis.stairs(counts / width, edges, fill=True, color=FAILURE, alpha=0.75, label="failures")
        axis.set_ylim(0, axis.get_ylim()[1] * 1.05)
        axis.set_xlim(0, edges[-1])
        axis.set_xlabel("time since the start (s)")
        axis.set_ylabel("requests that ended per second")
        done = mark(axis, marks_of(results))
        legend(axis, [*axis.get_legend_handles_labels()[0], *done])
        save(fig)
    return True


def latency(results: Results, save: Save) -> bool:
    """Percentiles and distribution of response times by kind of request."""
    kinds = [kind for kind in summary.REQUESTS if of_kind(results.samples, kind)]
    if not kinds:
        return False
    quantiles = (50, 90, 95, 99)
    shades = ("#9ecae1", "#5aa2cf", "#2171b5", "#08306b")
    with figure(1, 2, height=3.6) as (fig, (bars, curve)):
        highest = 0.0
        for row, kind in enumerate(kinds):
            found = of_kind(results.samples, kind)
            ordered = sorted(sample.response * 1000 if sample.ok else math.inf for sample in found)
            for place, (q, shade) in enumerate(zip(quantiles, shades, strict=True)):
                value = percentile(ordered, q)
                at = row + (place - 1.5) * 0.2
                if math.isinf(value):
                    bars.text(0, at, " failed", va="center", color=FAILURE, fontsize=8, weight="bold")
                    continue
                highest = max(highest, value)
                bars.barh(at, value, color=shade, height=0.18)
                bars.text(value, at, f" {summary.duration(value / 1000)}", va="center", fontsize=8)
            cdf_line(curve, found, label=kind, color=PALETTE[row], linestyle=LINE_STYLES[row])
        for q, shade in zip(quantiles, shades, strict=True):
            bars.plot([], [], "s", color=shade, label="median" if q == 50 else f"p{q}")
        bars.set_yticks(range(len(kinds)), kinds)
        bars.invert_yaxis()
        bars.grid(visible=False, axis="y")
        bars.set_xlim(0, highest * 1.22 or 1)
        bars.set_xlabel("response time (ms)")
        bars.set_title("percentiles")
        bars.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=4, handletextpad=0.1, columnspacing=1
        )
        curve.set_title("distribution")
        cdf_axes(curve, "response time")
        save(fig)
    return True
