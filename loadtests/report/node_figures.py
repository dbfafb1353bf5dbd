"""Figures of the nodes: their processes over time, and what they measured of themselves.

Each saves one figure, or says by False that there is nothing to draw.
"""

from collections.abc import Callable

from loadtests.benchmarks import ProcessSample
from loadtests.report.axes import Line, Save, over_time
from loadtests.report.data import Results
from loadtests.report.marks import marks_of
from loadtests.samples import NodeSample


def memory(results: Results, save: Save) -> bool:
    """Resident memory of each node over time."""
    lines = _node_lines(results, lambda sample: sample.mem_bytes / 1e6)
    return over_time(results.regions, lines, "resident memory (MB)", save, marks_of(results))


def processor(results: Results, save: Save) -> bool:
    """Processor time of each node over time."""
    lines = _node_lines(results, lambda sample: sample.cpu_percent)
    return over_time(results.regions, lines, "processor time (% of one core)", save, marks_of(results))


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
