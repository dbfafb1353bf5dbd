"""How plots look: one palette, told apart by the colour-blind, and figures without anything that says
nothing.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl

mpl.use("Agg")  # files only: no display is needed
import matplotlib.pyplot as plt

# Okabe and Ito's palette ("Color Universal Design", 2008), its yellow left out: too pale for lines on white.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#8C6D31", "#4D4D4D")
FAILURE = "#D55E00"
INK = "#1f2933"
FAINT = "#8896a5"
# One hue, light to dark: the same order in every kind of sight, and in print.
HEAT = "Blues"
LINE_STYLES = ("-", "--", ":", "-.")

WIDTH = 9.0
"""Inches; at 100 dots per inch the PNGs fit a page of 900 pixels."""

_SETTINGS = {
    "axes.axisbelow": True,
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.dpi": 100,
    "font.size": 10,
    "grid.color": "#e4e9ee",
    "legend.frameon": False,
    "savefig.dpi": 160,
    "svg.fonttype": "path",  # looks the same without the font
    "svg.hashsalt": "peersdb",  # the same run draws the same bytes
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


@contextmanager
def figure(rows: int = 1, columns: int = 1, *, height: float = 3.4) -> Iterator[tuple[Any, Any]]:
    """A figure in this style and its axes, closed at the end. ``height`` in inches."""
    with plt.rc_context(_SETTINGS):
        drawn, axes = plt.subplots(rows, columns, figsize=(WIDTH, height), layout="constrained")
        try:
            yield drawn, axes
        finally:
            plt.close(drawn)


def colours(regions: Sequence[str]) -> dict[str, tuple[str, str]]:
    """A colour and a line style for each region: after the seventh the colours come again, dashed."""
    count = len(PALETTE)
    return {
        region: (PALETTE[index % count], LINE_STYLES[index // count % len(LINE_STYLES)])
        for index, region in enumerate(regions)
    }
