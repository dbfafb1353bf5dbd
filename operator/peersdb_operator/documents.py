"""YAML as kubectl reads it: text in, plain values and the place of each of them out.

PyYAML's own loader takes the last of two equal keys, dates and sexagesimal numbers (``1:30`` is 90), all of
which the Kubernetes tools refuse or read as strings; hence the values are made from the node graph here.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import yaml

from peersdb_operator.errors import Fault, ManifestError

MAX_BYTES = 1 << 20
"""Largest manifest in bytes; the API server's own limit for an object is 1.5 MiB."""

MAX_NODES = 50_000
"""Most values of one file; aliases count at each use, so that a few lines cannot unfold into gigabytes."""

Path = tuple[str | int, ...]

_MERGE = "tag:yaml.org,2002:merge"
_NULL = "tag:yaml.org,2002:null"
_BOOL = "tag:yaml.org,2002:bool"
_INT = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
_STR = "tag:yaml.org,2002:str"
_BOOLS = {
    "y": True,
    "n": False,
    "yes": True,
    "no": False,
    "true": True,
    "false": False,
    "on": True,
    "off": False,
}


class _Loader(yaml.SafeLoader):
    """The YAML 1.1 resolver without timestamps and sexagesimal numbers."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's interface


for _tag, _pattern, _first in (
    (
        _BOOL,
        r"^(?:y|Y|n|N|yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$",
        "yYnNtTfFoO",
    ),
    (_INT, r"^[-+]?(?:0b[01_]+|0o?[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$", "-+0123456789"),
    (_FLOAT, r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+0123456789."),
    (_FLOAT, r"^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", "-+."),
    (_MERGE, r"^<<$", "<"),
    (_NULL, r"^(?:~|null|Null|NULL|)$", "~nN\0"),
):
    _Loader.add_implicit_resolver(
        _tag, re.compile(_pattern), [*_first, ""] if _tag == _NULL else list(_first)
    )


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document.

    Attributes:
        value: its value, of dicts with string keys, lists, strings, numbers, booleans and None.
        marks: line and column, from 1, of each field and item by its path.
    """

    value: Any
    marks: dict[Path, tuple[int, int]]


def load(data: bytes, source: str = "manifest") -> list[Document]:
    """Read all documents of a file that are not empty.

    Raises:
        ManifestError: it is too large, no YAML, or says something twice; all that was found.
    """
    if len(data) > MAX_BYTES:
        raise ManifestError(source, [Fault("", f"larger than {MAX_BYTES} bytes: this is no manifest")])
    builder = _Builder()
    try:
        documents = [builder.document(node) for node in yaml.compose_all(data, Loader=_Loader)]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        text = ", ".join(part for part in (error.context, error.problem) if part)
        raise ManifestError(
            source, [*builder.faults, Fault("", f"not valid YAML: {text}", *place)]
        ) from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise ManifestError(source, [Fault("", f"not valid YAML: {' '.join(str(error).split())}")]) from error
    except RecursionError as error:
        raise ManifestError(source, [Fault("", "nested too deeply: this is no manifest")]) from error
    if builder.faults:
        raise ManifestError(source, builder.faults)
    return [document for document in documents if document.value is not None]


def render(path: Path) -> str:
    """Write a path as Kubernetes does: ``spec.regions[2].name``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


class _Builder:
    """Makes values of nodes; collects what is wrong instead of stopping at the first."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._marks: dict[Path, tuple[int, int]] = {}
        self._count = 0
        self._open: set[int] = set()  # ids of the nodes being unfolded: an alias to one of them is a cycle

    def document(self, node: yaml.Node) -> Document:
        self._marks = {}
        value = self._value(node, ())
        return Document(value, self._marks)

    def _fault(self, path: Path, message: str, node: yaml.Node) -> None:
        mark = node.start_mark
        self.faults.append(Fault(render(path), message, mark.line + 1, mark.column + 1))

    def _value(self, node: yaml.Node, path: Path) -> Any:
        self._count += 1
        if self._count > MAX_NODES:
            if self._count == MAX_NODES + 1:
                self._fault(path, f"more than {MAX_NODES} values: this is no manifest", node)
            return None
        if id(node) in self._open:
            self._fault(path, "this alias holds itself: write the value out", node)
            return None
        self._marks.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
            return self._mapping(node, path)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.Node, path: Path) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                sources = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                for source in sources:
                    value = self._value(source, path)
                    if not isinstance(value, dict):
                        self._fault(path, "<< takes a mapping or a list of mappings", source)
                        continue
                    merged = {**value, **merged}
                continue
            key = self._key(key_node, path)
            if key is None:
                continue
            here = (*path, key)
            if key in own:
                self._fault(here, "given twice: keep one", key_node)
                continue
            self._marks[here] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            own[key] = self._value(value_node, here)
        return {**merged, **own}

    def _key(self, node: yaml.Node, path: Path) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self._fault(path, "a key must be a string", node)
            return None
        value = self._scalar(node, path)
        if isinstance(value, bool):
            return "true" if value else "false"
        return "null" if value is None else str(value)

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        text = node.value
        if node.tag == _STR:
            return text
        if node.tag == _NULL:
            return None
        if node.tag == _BOOL and text.lower() in _BOOLS:
            return _BOOLS[text.lower()]
        try:
            if node.tag == _INT:
                return _integer(text)
            if node.tag == _FLOAT:
                number = float(text.replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
                if math.isfinite(number):
                    return int(number) if number.is_integer() and abs(number) < 2**53 else number
        except ValueError:
            pass  # said below, with the place
        self._fault(path, f"{text!r} is not a value of the kind {node.tag.rpartition(':')[2]!r}", node)
        return None


def _integer(text: str) -> int:
    """Read an integer of YAML 1.1: a leading 0 means octal."""
    digits = text.replace("_", "").lower()
    sign = -1 if digits.startswith("-") else 1
    digits = digits.lstrip("+-")
    if digits.startswith("0") and digits.isdigit() and len(digits) > 1:
        return sign * int(digits, 8)
    return sign * int(digits, 0)
