"""The custom resource definitions, and what the API server does with their schemas: defaults and structural
faults.

The schema is the CRD's own; nothing of it is repeated here. Beyond JSON Schema, the keywords that a
structural schema of Kubernetes adds are given their meaning: unknown fields are faults (as under
``fieldValidation=Strict``, what kubectl asks for), lists of type ``map`` have unique keys and those of type
``set`` unique items, ``x-kubernetes-int-or-string``.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path as FilePath
from typing import Any, cast

import yaml
from jsonschema import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import Draft202012Validator, extend

from peersdb_operator.documents import Path, render
from peersdb_operator.errors import Fault

GROUP = "peersdb.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


@dataclass(frozen=True, slots=True)
class Resource:
    """One of our resources.

    Attributes:
        kind: its name.
        noun: what a message calls one.
        file: its definition in ``crds/``.
    """

    kind: str
    noun: str
    file: str

    def definition(self) -> dict[str, Any]:
        """Give the CRD."""
        return _definition(self.file)

    def schema(self) -> dict[str, Any]:
        """Give the OpenAPI schema of the one version."""
        versions = self.definition()["spec"]["versions"]
        return cast("dict[str, Any]", versions[0]["schema"]["openAPIV3Schema"])


CLUSTER = Resource("PeersDBCluster", "cluster", "peersdbclusters.yaml")
BENCHMARK = Resource("PeersDBBenchmark", "benchmark", "peersdbbenchmarks.yaml")
RESOURCES = (CLUSTER, BENCHMARK)


@cache
def _definition(file: str) -> dict[str, Any]:
    """Read a CRD: from the package if it is installed, from ``crds/`` beside it in a source tree."""
    packaged = resources.files(__package__).joinpath("crds", file)
    if packaged.is_file():
        text = packaged.read_text(encoding="utf-8")
    else:
        text = FilePath(__file__).resolve().parents[2].joinpath("crds", file).read_text(encoding="utf-8")
    return cast("dict[str, Any]", yaml.safe_load(text))


def with_defaults(value: Any, node: dict[str, Any]) -> Any:
    """Give a copy with a schema's defaults filled in, as the API server does before it validates.

    A null in a field of the schema counts as absent (nothing there is nullable); a default is taken as it
    stands.
    """
    if isinstance(value, dict) and "properties" in node:
        known = node["properties"]
        filled = {
            key: with_defaults(item, known.get(key, {}))
            for key, item in value.items()
            if item is not None or key not in known
        }
        for key, child in known.items():
            if "default" in child and key not in filled:
                filled[key] = copy.deepcopy(child["default"])
        return filled
    if isinstance(value, list) and "items" in node:
        return [with_defaults(item, node["items"]) for item in value]
    return copy.deepcopy(value)


def structural_faults(value: Any, schema: dict[str, Any]) -> list[Fault]:
    """List all that a resource's schema (without its CEL rules) finds wrong, by path."""
    validator = _Structural(schema)
    return [_fault(error) for error in validator.iter_errors(value)]


def go_pattern(pattern: str) -> str:
    r"""Translate the one difference between Go's and Python's syntax that matters: ``$`` before a last
    newline.
    """
    return pattern[:-1] + r"\Z" if pattern.endswith("$") and not pattern.endswith(r"\$") else pattern


# The keyword functions have jsonschema's signature: validator, the keyword's value, the instance, the schema.


def _properties(validator: Validator, properties: Any, instance: Any, node: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for key, child in properties.items():
        if key in instance:
            yield from validator.descend(instance[key], child, path=key, schema_path=key)  # type: ignore[attr-defined]
    # A schema of metadata speaks of some fields only; the rest of it is ObjectMeta's and judged in
    # manifest.py.
    if "additionalProperties" in node or any(node is r.schema()["properties"]["metadata"] for r in RESOURCES):
        return
    for key in instance:
        if key not in properties:
            yield ValidationError(
                "unknown field", path=[key], validator="unknown", validator_value=properties
            )


def _pattern(_validator: Validator, pattern: Any, instance: Any, _node: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not re.search(go_pattern(pattern), instance):
        yield ValidationError("pattern")


def _list_map(_validator: Validator, keys: Any, instance: Any, _node: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, list):
        return
    seen: set[str] = set()
    for index, item in enumerate(instance):
        if not isinstance(item, dict) or any(key not in item for key in keys):
            continue  # a fault of its own
        identity = repr([item[key] for key in keys])
        if identity in seen:
            yield ValidationError(
                "duplicate", path=[index], validator="duplicate", validator_value=keys, instance=item
            )
        seen.add(identity)


def _list_type(_validator: Validator, kind: Any, instance: Any, _node: Any) -> Iterator[ValidationError]:
    if kind != "set" or not isinstance(instance, list):
        return
    for index, item in enumerate(instance):
        if item in instance[:index]:
            yield ValidationError("repeated", path=[index], validator="repeated", instance=item)


def _int_or_string(
    _validator: Validator, wanted: Any, instance: Any, _node: Any
) -> Iterator[ValidationError]:
    if wanted and (isinstance(instance, bool) or not isinstance(instance, int | str)):
        yield ValidationError("type")


def _any_of(
    _validator: Validator, _alternatives: Any, _instance: Any, _node: Any
) -> Iterator[ValidationError]:
    """The schema uses anyOf beside x-kubernetes-int-or-string only, which says the same."""
    yield from ()


_Structural: type[Validator] = extend(  # type: ignore[no-untyped-call]  # its stub has no types
    Draft202012Validator,
    {
        "properties": _properties,
        "pattern": _pattern,
        "x-kubernetes-list-map-keys": _list_map,
        "x-kubernetes-list-type": _list_type,
        "x-kubernetes-int-or-string": _int_or_string,
        "anyOf": _any_of,
    },
)

_TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "a string",
    "integer": "an integer",
    "boolean": "true or false",
}


def _fault(error: ValidationError) -> Fault:
    path: Path = tuple(error.absolute_path)
    value, wanted, keyword = error.instance, error.validator_value, str(error.validator)
    if keyword == "required":
        missing = re.match(r"'([^']*)'", error.message)
        path = (*path, missing[1] if missing else "?")
        return Fault(render(path), "required: give it a value", shape=True)
    if keyword in {"type", "x-kubernetes-int-or-string"}:
        kind = _TYPES.get(str(wanted), "an integer or a string")
        hint = ": put it in quotes" if wanted == "string" and isinstance(value, int | float) else ""
        return Fault(render(path), f"must be {kind}, not {_show(value)}{hint}", shape=True)
    return Fault(render(path), _MESSAGES.get(keyword, _unforeseen)(value, wanted))


def _unforeseen(value: Any, wanted: Any) -> str:
    return f"{_show(value)} is not allowed here (the schema says {_show(wanted)})"


_MESSAGES: dict[str, Callable[[Any, Any], str]] = {
    "unknown": lambda _value, wanted: (
        f"unknown field: take it out, or write one of {', '.join(sorted(wanted))}"
    ),
    "duplicate": lambda value, wanted: (
        f"duplicate {', '.join(f'{key} {value[key]!r}' for key in wanted)}: give each its own"
    ),
    "repeated": lambda value, _wanted: f"{_show(value)} is there twice: keep one",
    "enum": lambda value, wanted: f"{_show(value)} is not one of {', '.join(wanted)}",
    "pattern": lambda value, wanted: f"{_show(value)} does not match {wanted}",
    "minimum": lambda value, wanted: f"{value} is too small: at least {wanted}",
    "maximum": lambda value, wanted: f"{value} is too large: at most {wanted}",
    "minLength": lambda _value, wanted: f"too short: at least {wanted} characters",
    "maxLength": lambda _value, wanted: f"too long: at most {wanted} characters",
    "minItems": lambda _value, wanted: f"too few: at least {wanted}, or leave it out",
    "maxItems": lambda _value, wanted: f"too many: at most {wanted}",
    "maxProperties": lambda _value, wanted: f"too many: at most {wanted}",
}


def _show(value: Any) -> str:
    """Render a value shortly, in JSON's words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
