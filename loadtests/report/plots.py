"""The catalogue of plots: which there are, what they are called, and what they say."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtests.report import figures, node_figures, paper_figures
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
        "paper-bootstrap",
        "Figure 1: bootstrap time by region",
        "Each marker is one newcomer. Hollow markers are published results of the original; to the right, the "
        "same times by the size that the cluster had.",
        paper_figures.bootstrap_by_region,
    ),
    Plot(
        "paper-replication",
        "Figure 2: replication time by region",
        "Each marker is one node's mean, its line reaches from minimum to maximum. Hollow markers are published "
        "results of the original, which measured arrival minus creation.",
        paper_figures.replication_by_region,
    ),
    Plot(
        "replication",
        "Replication by region pair",
        "From posting until another node's query has the entry. Same region: other nodes of it. "
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
        "Fresh nodes with empty repos, in the order of their start.",
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
        EACH_LINE,
        node_figures.processor,
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
