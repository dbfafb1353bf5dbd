"""What options may look like, so that a wrong one is a fault at the start and not at the first file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

#: Says what is wrong with a value, or gives an empty text.
Kind = Callable[[Any], str]


def number(low: float, high: float, *, whole: bool = True) -> Kind:
    """A number of this range."""

    def fault(value: Any) -> str:
        right = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        if right and low <= value <= high:
            return ""
        return f"is {value!r}, not a {'whole ' if whole else ''}number from {low:g} to {high:g}"

    return fault


def text(*choices: str) -> Kind:
    """A text, of these if any are given."""

    def fault(value: Any) -> str:
        if isinstance(value, str) and value and (not choices or value in choices):
            return ""
        return f"is {value!r}, not " + (f"one of {', '.join(choices)}" if choices else "a text")

    return fault


def texts() -> Kind:
    """A list of texts."""

    def fault(value: Any) -> str:
        right = isinstance(value, list) and all(isinstance(one, str) and one for one in value)
        return "" if right and value else f"is {value!r}, not a list of texts"

    return fault


def mapping() -> Kind:
    """A mapping, or true or false where JSON Schema allows it is no concern of ours."""

    def fault(value: Any) -> str:
        return "" if isinstance(value, Mapping) else f"is {type(value).__name__}, not a mapping"

    return fault


def flag() -> Kind:
    """True or false."""

    def fault(value: Any) -> str:
        return "" if isinstance(value, bool) else f"is {value!r}, not true or false"

    return fault


def faults_of(options: Mapping[str, Any], kinds: Mapping[str, Kind]) -> list[str]:
    """What is wrong with options: ``name: what``, one for each."""
    found: list[str] = []
    for name, value in options.items():
        if name not in kinds:
            found.append(f"{name}: is unknown; there are {', '.join(sorted(kinds)) or 'none'}")
        elif fault := kinds[name](value):
            found.append(f"{name}: {fault}")
    return found
