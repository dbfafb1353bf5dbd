"""Figures of the nodes: their processes over time, and what they measured of themselves.

Each saves one figure, or says by False that there is nothing to draw.
"""

from collections.abc import Callable

from loadtests.benchmarks import ProcessSample
from loadtests.report import summary
from loadtests.report.axes import Line, Save, handle, legend, over_time, time_ticks
from loadtests.report.data import Results
from loadtests.report.style import INK, colours, figure
from loadtests.samples import NodeSample
from loadtests.statistics import percentile


def memory(results: Results, save: Save) -> bool:
    """Resident memory of each node over time."""
    lines = _node_lines(results, lambda sample: sample.mem_bytes / 1e6)
    return over_time(results.regions, lines, "resident memory (MB)", save)


def processor(results: Results, save: Save) -> bool:
    """Processor time of each node over time."""
    lines = _node_lines(results, lambda sample: sample.cpu_percent)
    return over_time(results.regions, lines, "processor time (% of one core)", save)


def own_bootstrap(results: Results, save: Save) -> bool:
    """The nodes' own bootstrap times by region."""
    values: dict[str, list[float]] = {}
    for one in results.benchmarks:
        if one.bootstrap > 0:
            values.setdefault(one.region, []).append(one.bootstrap)
    if not values:
        return False
    regions = sorted(values)
    look = colours(results.regions)
    with figure(height=1.2 + 0.42 * max(2, len(regions))) as (fig, axis):
        for row, region in enumerate(regions):
            ordered = sorted(values[region])
            spread = [row + (index % 5 - 2) * 0.08 for index in range(len(ordered))]
            axis.plot(ordered, spread, "o", color=look[region][0], ms=5, alpha=0.7)
            median = percentile(ordered, 50)
            axis.vlines(median, row - 0.36, row + 0.36, color=INK, lw=2)
            axis.text(median, row - 0.4, summary.duration(median), ha="center", va="bottom", fontsize=8)
        axis.set_yticks(range(len(regions)), [f"{region} ({len(values[region])})" for region in regions])
        axis.set_ylim(len(regions) - 0.4, -0.8)
        axis.grid(visible=False, axis="y")
        axis.set_xlim(left=0)
        axis.set_xlabel("start-up until the last earlier entry (s)")
        save(fig)
    return True


def own_replication(results: Results, save: Save) -> bool:
    """The nodes' own replication times by region: average, and the range from minimum to maximum."""
    found = sorted(
        (one for one in results.benchmarks if one.maximum > 0), key=lambda one: (one.region, one.average)
    )
    if not found:
        return False
    look = colours(results.regions)
    with figure(height=3.4) as (fig, axis):
        for index, one in enumerate(found):
            colour = look[one.region][0]
            axis.vlines(index, one.minimum, one.maximum, color=colour, lw=2.2, alpha=0.45)
            axis.plot(index, one.average, "o", color=colour, ms=5)
        axis.set_yscale("log")
        time_ticks(axis.yaxis, per_second=1)
        axis.set_xticks([])
        axis.grid(visible=False, axis="x")
        axis.set_xlabel(f"{len(found)} nodes, by region")
        axis.set_ylabel("arrival minus creation")
        handles = [handle(look[region][0], "o", region) for region in sorted({one.region for one in found})]
        legend(axis, [*handles, handle(INK, "o", "average"), handle(INK, "|", "minimum to maximum")])
        save(fig)
    return True


def own_memory(results: Results, save: Save) -> bool:
    """Memory by the nodes' own samples, where the load generator has none of its own."""
    return _own_over_time(results, lambda item: item.mem_bytes / 1e6, "memory (MB)", save)


def own_processor(results: Results, save: Save) -> bool:
    """Processor time by the nodes' own samples, where the load generator has none of its own."""
    return _own_over_time(results, lambda item: item.cpu_percent, "processor time (%)", save)


def _node_lines(results: Results, value: Callable[[NodeSample], float]) -> list[Line]:
    lines: dict[str, Line] = {}
    for sample in results.nodes:
        _, times, values = lines.setdefault(sample.node, (sample.region, [], []))
        times.append(sample.ts - results.begin)
        values.append(value(sample))
    return [lines[name] for name in sorted(lines)]


def _own_over_time(results: Results, value: Callable[[ProcessSample], float], label: str, save: Save) -> bool:
    found = [one for one in results.benchmarks if one.samples]
    if results.nodes or not found:
        return False
    begin = min(one.samples[0].ts for one in found)
    lines: list[Line] = [
        (one.region, [item.ts - begin for item in one.samples], [value(item) for item in one.samples])
        for one in found
    ]
    return over_time(results.regions, lines, label, save)
