"""Figures as text, and limits as figures."""

import math
import re
from collections.abc import Callable

SECONDS, RATIO, COUNT, RATE, BYTES, PERCENT = "seconds", "ratio", "count", "rate", "bytes", "percent"

_LIMIT = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*([a-zµA-Z/%]*)\s*")
# What may stand behind a number, and what it is worth in the metric's own unit.
_SUFFIXES: dict[str, dict[str, float]] = {
    SECONDS: {"": 1, "s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "m": 60, "h": 3600},
    RATIO: {"": 1, "%": 0.01},
    COUNT: {"": 1},
    RATE: {"": 1, "/s": 1},
    BYTES: {
        **{
            f"{prefix}{byte}": 1000**power
            for power, prefix in enumerate(("", "k", "M", "G"))
            for byte in ("", "B")
        },
        **{f"{prefix}i{byte}": 1024**power for power, prefix in enumerate("KMG", 1) for byte in ("", "B")},
    },
    PERCENT: {"": 1, "%": 1},
}


def parse_limit(text: str, unit: str) -> float:
    """A limit such as ``500ms``, ``0.01``, ``10/s`` or ``300Mi`` in the metric's unit.

    Raises:
        ValueError: it is no number, or not of this unit.
    """
    found = _LIMIT.fullmatch(text)
    factor = _SUFFIXES[unit].get(found.group(2)) if found else None
    if not found or factor is None:
        raise ValueError(f"{text!r} is no limit in {unit}")
    return float(found.group(1)) * factor


def figure(value: float, unit: str) -> str:
    """A figure for people: three digits and a unit, ``none`` or ``failed``."""
    if not math.isfinite(value):
        return "none" if math.isnan(value) else "failed"
    return _WRITERS[unit](value)


def duration(seconds: float) -> str:
    """A time for people: three digits and a unit."""
    if math.isnan(seconds):
        return "none"
    if math.isinf(seconds):
        return "failed"
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds == 0:
        return "0 s"
    value, unit = (seconds, "s") if seconds >= 1 else (seconds * 1e3, "ms")
    if value < 1:
        value, unit = value * 1e3, "µs"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f} {unit}"


def size(count: float) -> str:
    """Bytes for people, in powers of 1000."""
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(count) >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.0f} B"


def times(ratio: float) -> str:
    """A ratio for people: ``2.5x``, ``none`` or ``failed``."""
    if not math.isfinite(ratio):
        return "none" if math.isnan(ratio) else "failed"
    return f"{_short(ratio)}x"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _count(value: float) -> str:
    return f"{value:.0f}" if value == round(value) else f"{value:.1f}"


_WRITERS: dict[str, Callable[[float], str]] = {
    SECONDS: duration,
    BYTES: size,
    COUNT: _count,
    RATIO: lambda value: f"{value * 100:.3g} %",
    PERCENT: lambda value: f"{_short(value)} %",
    RATE: lambda value: f"{_short(value)}/s",
}
