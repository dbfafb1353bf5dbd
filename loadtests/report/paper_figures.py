"""The original's two figures, drawn from our run, with published results beside it."""

import math
from collections.abc import Sequence
from typing import Any

from loadtests.report import paper
from loadtests.report.axes import Save, broken, handle, scale
from loadtests.report.data import Results
from loadtests.report.paper import ARRIVAL, JOINED, OURS, OWN, VISIBLE
from loadtests.report.style import FAILURE, FAINT, INK, PALETTE, figure

# Ours in strong colours, published results in grey shades with hollow markers: no legend is needed to tell
# whose is whose.
_LOOKS = {
    JOINED: (PALETTE[0], "o"),
    ARRIVAL: (PALETTE[0], "o"),
    OWN: (PALETTE[2], "^"),
    VISIBLE: (PALETTE[2], "s"),
}
_HOLLOW = ((FAINT, "D"), (PALETTE[3], "v"), (PALETTE[5], "P"))


def bootstrap_by_region(results: Results, save: Save) -> bool:
    """Figure 1: each newcomer by region, and as the cluster grows."""
    series = paper.starts(results)
    rows = paper.start_rows(results)
    if not rows:
        return False
    regions = [row.region for row in rows]
    grows = any(one.before is not None for found in series.values() for one in found)
    with figure(1, 2 if grows else 1, height=1.9 + 0.55 * max(2, len(rows))) as (fig, axes):
        left, right = axes if grows else (axes, None)
        for place, (label, found) in enumerate(series.items()):
            look = _look(series, label)
            good = [one for one in found if math.isfinite(one.seconds)]
            offset = (place - (len(series) - 1) / 2) * 0.72 / max(1, len(series))
            heights = [
                regions.index(one.region) + offset + (index % 3 - 1) * 0.05 for index, one in enumerate(good)
            ]
            left.plot([one.seconds for one in good], heights, **look)
            if right is not None:
                known = [one for one in good if one.before is not None]
                right.plot([one.before for one in known], [one.seconds for one in known], **look)
        _mark_failures(left, series, regions)
        times = [one.seconds for found in series.values() for one in found]
        scale(left, "x", times)
        left.set_xlabel("bootstrap time")
        _region_rows(left, regions)
        if right is not None:
            scale(
                right,
                "y",
                [one.seconds for found in series.values() for one in found if one.before is not None],
            )
            right.set_xlabel("nodes there before")
            right.set_ylabel("bootstrap time")
        _series_legend(fig, series)
        save(fig)
    return True


def replication_by_region(results: Results, save: Save) -> bool:
    """Figure 2: mean and range of each node's replication times, by region."""
    series = paper.spreads(results)
    rows = paper.spread_rows(results)
    if not rows:
        return False
    with figure(height=4.6) as (fig, axis):
        for place, row in enumerate(rows):
            nodes = [
                (label, one) for label, found in series.items() for one in found if one.region == row.region
            ]
            for index, (label, one) in enumerate(nodes):
                x = place + (index - (len(nodes) - 1) / 2) * 0.84 / max(len(nodes), 6)
                look = _look(series, label)
                if math.isinf(one.mean):
                    # At the top, not where it would look like a fast one.
                    top = axis.get_xaxis_transform()
                    axis.plot(x, 0.97, marker="x", color=FAILURE, ms=6, linestyle="", transform=top)
                    continue
                axis.vlines(x, one.low, one.high, color=look["color"], lw=1.3, alpha=0.6)
                axis.plot(x, one.mean, **{**look, "alpha": 1.0})
            if math.isfinite(row.limit):
                axis.hlines(row.limit, place - 0.46, place + 0.46, color=INK, lw=1.2, linestyle=":")
            if place:
                axis.axvline(place - 0.5, color="#e4e9ee", lw=0.8)
        scale(
            axis, "y", [value for found in series.values() for one in found for value in (one.low, one.high)]
        )
        axis.set_xticks(range(len(rows)), [broken(row.region) for row in rows])
        axis.set_xlim(-0.5, len(rows) - 0.5)
        axis.tick_params(axis="x", length=0)
        axis.grid(visible=False, axis="x")
        axis.set_ylabel("replication time, mean and range of each node")
        extra = []
        if any(math.isfinite(row.limit) for row in rows):
            extra.append(handle(INK, None, "half a round trip", linestyle=":"))
        if any(math.isinf(one.mean) for found in series.values() for one in found):
            extra.append(handle(FAILURE, "x", "failures among them: no mean"))
        _series_legend(fig, series, extra)
        save(fig)
    return True


def _look(series: dict[str, Any], label: str) -> dict[str, Any]:
    look: dict[str, Any] = {"linestyle": "", "ms": 5, "alpha": 0.8}
    if label in _LOOKS:
        colour, marker = _LOOKS[label]
        return {**look, "color": colour, "marker": marker}
    theirs = [name for name in series if name not in _LOOKS]
    colour, marker = _HOLLOW[theirs.index(label) % len(_HOLLOW)]
    return {**look, "color": colour, "marker": marker, "markerfacecolor": "white"}


def _mark_failures(axis: Any, series: dict[str, list[paper.Start]], regions: Sequence[str]) -> None:
    """A newcomer that failed has no place on a time axis: its region's row says how many did."""
    for row, region in enumerate(regions):
        failed = sum(
            one.region == region and math.isinf(one.seconds) for found in series.values() for one in found
        )
        if failed:
            axis.text(
                1,
                row,
                f"{failed} failed",
                transform=axis.get_yaxis_transform(),
                ha="right",
                va="center",
                color=FAILURE,
                weight="bold",
            )


def _region_rows(axis: Any, regions: Sequence[str]) -> None:
    axis.set_yticks(range(len(regions)), regions)
    axis.set_ylim(len(regions) - 0.5, -0.5)
    axis.grid(visible=False, axis="y")
    axis.tick_params(axis="y", length=0)
    for row in range(1, len(regions)):
        axis.axhline(row - 0.5, color="#e4e9ee", lw=0.8)


def _series_legend(fig: Any, series: dict[str, Any], extra: Sequence[Any] = ()) -> None:
    handles = []
    for label in series:
        look = _look(series, label)
        fill = {"markerfacecolor": look["markerfacecolor"]} if "markerfacecolor" in look else {}
        handles.append(handle(look["color"], look["marker"], OURS.get(label, f"published: {label}"), **fill))
    fig.legend(handles=[*handles, *extra], loc="outside lower left", ncols=2)
