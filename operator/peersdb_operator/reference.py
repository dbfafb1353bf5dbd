"""The reference of the resource, written from the CRD: schema in, Markdown out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from peersdb_operator.definition import API_VERSION, KIND

_HEAD = f"""\
# {KIND} ({API_VERSION})

Written from `crds/peersdbclusters.yaml` by `peersdb-operator crd -o markdown`; change it there. A manifest with every
field, commented, is `deploy/samples/full.yaml`. `peersdb-operator check -f FILE` gives the verdict of an API server:
defaults, structure, unknown fields, rules.

`[]` is an item of a list. A field of `root` or a region that is left out of `storage` means that of `spec.storage`.
"""


def markdown(schema: Mapping[str, Any]) -> str:
    """Write the reference of a schema."""
    spec, status = schema["properties"]["spec"], schema["properties"]["status"]
    lines = [_HEAD, "## spec", "", "| field | type | default | meaning |", "|---|---|---|---|"]
    lines += _rows("", spec, with_default=True)
    lines += ["", "## Rules", "", "Beyond the limits of each field:", ""]
    lines += [f"- {message}{' (of an update)' if update else ''}" for message, update in _rules(schema)]
    lines += ["", "## status", "", "| field | type | meaning |", "|---|---|---|"]
    lines += _rows("", status, with_default=False)
    return "\n".join(lines) + "\n"


def _rows(prefix: str, node: Mapping[str, Any], *, with_default: bool) -> Iterator[str]:
    for name, child in node.get("properties", {}).items():
        path = f"{prefix}{name}"
        required = " **required**" if name in node.get("required", []) else ""
        default = _default(child) + required
        cells = [
            f"`{path}`",
            _kind(child),
            *([default.strip()] if with_default else []),
            child["description"],
        ]
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
        yield from _rows(f"{path}.", child, with_default=with_default)
        yield from _rows(f"{path}[].", child.get("items", {}), with_default=with_default)


def _default(node: Mapping[str, Any]) -> str:
    if "default" not in node or isinstance(node["default"], dict):
        return ""  # that of a part is that of its fields
    value = node["default"]
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _kind(node: Mapping[str, Any]) -> str:
    """Say a field's type with its limits."""
    if node.get("x-kubernetes-int-or-string"):
        return "quantity"
    if "enum" in node:
        return " or ".join(f"`{value}`" for value in node["enum"])
    kind, limit = str(node["type"]), ""
    if kind == "array":
        kind, limit = (
            f"list of {_kind(node['items'])}s",
            f", at most {node['maxItems']}" if "maxItems" in node else "",
        )
    elif "additionalProperties" in node:
        kind = "map of strings"
    elif "minimum" in node and "maximum" in node:
        kind = f"{node['minimum']} to {node['maximum']}"
    elif "pattern" in node:
        kind, limit = (
            f"string `{node['pattern']}`",
            f", at most {node['maxLength']}" if "maxLength" in node else "",
        )
    return kind + limit


def _rules(node: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    for rule in node.get("x-kubernetes-validations", []):
        yield rule["message"], "oldSelf" in rule["rule"]
    for child in node.get("properties", {}).values():
        yield from _rules(child)
    yield from _rules(node["items"]) if "items" in node else ()
