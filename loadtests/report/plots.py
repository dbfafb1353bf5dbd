"""The catalogue of plots: which there are, what they are called, and what they say."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtests.report import figures, node_figures
from loadtests.report.axes import Save
from loadtests.report.data import Results


@dataclass(frozen=True)
class Plot:
    """A figure of the report."""

    name: str
    """Of its files."""

    title: str
    caption: str
    draw: Callable[[Results, Save], bool]


def draw_all(results: Results, directory: Path) -> list[Plot]:
    """Draw what there is data for, as ``NAME.png`` and ``NAME.svg``. Returns those that were drawn."""
    drawn = []
    for plot in PLOTS:

        def save(fig: Any, name: str = plot.name) -> None:
            for kind in ("png", "svg"):
                metadata = {"Date": None} if kind == "svg" else {}  # the same run draws the same bytes
                fig.savefig(directory / f"{name}.{kind}", metadata=metadata)

        if plot.draw(results, save):
            drawn.append(plot)
    return drawn


EACH_LINE = "Each line is one node; colours are regions."

PLOTS = (
    Plot(
        "replication",
        "Replication by region pair",
        "From the answer to post until another node's query has the entry. Same region: other nodes of it. "
        "A cell says “failed” where failures reach into the percentile.",
        figures.replication_heat,
    ),
    Plot(
        "replication-cdf",
        "Replication, distribution",
        "Share of all watched arrivals at or below a time. A curve that ends below 100 % has failures.",
        figures.replication_cdf,
    ),
    Plot(
        "bootstrap",
        "Bootstrap of newcomers",
        "Fresh processes with empty repos that join by one member's HTTP API, one after the other.",
        figures.bootstrap,
    ),
    Plot("throughput", "Throughput over time", "What ended in each second.", figures.throughput),
    Plot(
        "latency",
        "Response times",
        "Counted from the moment a request was due by its user's schedule: a slow answer cannot hide the "
        "requests that it delayed.",
        figures.latency,
    ),
    Plot("memory", "Memory over time", EACH_LINE, node_figures.memory),
    Plot(
        "cpu",
        "Processor time over time",
        "Each line is one node; colours are regions.",
        node_figures.processor,
    ),
    Plot(
        "own-bootstrap",
        "Bootstrap, as the nodes measured it",
        "Each dot is one node, the bar is the region's median (benchmark.json).",
        node_figures.own_bootstrap,
    ),
    Plot(
        "own-replication",
        "Replication, as the nodes measured it",
        "Arrival of an entry minus its creation time, by the nodes' clocks (benchmark.json).",
        node_figures.own_replication,
    ),
    Plot(
        "own-memory",
        "Memory, as the nodes measured it",
        "Each line is one node (benchmark.json).",
        node_figures.own_memory,
    ),
    Plot(
        "own-cpu",
        "Processor time, as the nodes measured it",
        "Each line is one node (benchmark.json).",
        node_figures.own_processor,
    ),
)
