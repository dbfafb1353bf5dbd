"""What was done to the cluster, drawn on axes of time: events as lines, what was broken and warm-ups as shades."""

from dataclasses import dataclass
from typing import Any

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from loadtests.report.data import Results
from loadtests.report.style import FAILURE, INK, PALETTE

# More would write over each other at this width.
MAX_EVENT_TEXTS = 16
_EVENTS = {
    "wave": (INK, "--"),
    "deleted": (FAILURE, "-"),
    "back": (PALETTE[2], "-"),
    "cut": (FAILURE, "-"),
    "healed": (PALETTE[2], "-"),
}
_EVENT_WORDS = {
    "wave": "newcomers asked for",
    "deleted": "member deleted",
    "back": "member back",
    "cut": "region cut off",
    "healed": "region healed",
}


@dataclass(frozen=True)
class Marks:
    """What was done to the cluster, on a time axis in seconds from its begin."""

    events: tuple[tuple[str, float, str], ...] = ()
    """Kind, moment, text."""

    broken: tuple[tuple[float, float], ...] = ()
    """From when to when a region was cut off or a member was away."""

    warm: tuple[tuple[float, float], ...] = ()
    """The warm-ups, which are in no figure."""


NOTHING = Marks()


def marks_of(results: Results) -> Marks:
    """What was done meanwhile, for an axis that counts from the results' begin."""
    ends = {"cut": "healed", "deleted": "back"}
    events = results.described.events
    broken = []
    for event in events:
        if event.kind in ends:
            healed = [one.at for one in events if one.kind == ends[event.kind] and one.at >= event.at]
            last = max([look.ts for look in results.nodes], default=event.at)
            broken.append((event.at - results.begin, min(healed, default=last) - results.begin))
    return Marks(
        events=tuple(
            (
                event.kind,
                event.at - results.begin,
                "" if event.wave is None else str(event.wave),
            )
            for event in events
        ),
        broken=tuple(broken),
        warm=tuple(
            (one.began - results.begin, one.warm_until - results.begin)
            for one in results.described.segments
            if one.warm_until > one.began
        ),
    )


def mark(axis: Any, marks: Marks) -> list[Any]:
    """Draw what was done as lines, its spans and warm-ups as shades. Returns the entries of the legend."""
    handles: list[Any] = []
    for begin, end in marks.warm:
        axis.axvspan(begin, end, color="#eef1f4", lw=0, zorder=0)
    if marks.warm:
        handles.append(Patch(color="#eef1f4", label="warm-up"))
    for begin, end in marks.broken:
        axis.axvspan(begin, end, color=FAILURE, alpha=0.10, lw=0, zorder=0)
    kinds = list(dict.fromkeys(kind for kind, _, _ in marks.events))
    for kind, at, text in marks.events:
        colour, style = _EVENTS.get(kind, (INK, ":"))
        axis.axvline(at, color=colour, linestyle=style, lw=1, zorder=1)
        if text and len(marks.events) <= MAX_EVENT_TEXTS:
            axis.text(
                at, 1.01, text, transform=axis.get_xaxis_transform(), ha="center", fontsize=8, color=colour
            )
    for kind in kinds:
        colour, style = _EVENTS.get(kind, (INK, ":"))
        handles.append(
            Line2D([], [], color=colour, linestyle=style, lw=1, label=_EVENT_WORDS.get(kind, kind))
        )
    return handles
