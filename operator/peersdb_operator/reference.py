"""The reference of the resource, written from the CRD: schema in, Markdown out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from peersdb_operator.definition import API_VERSION, BENCHMARK, CLUSTER, Resource

_HEAD = """\
# The resources

Written from `crds/` by `peersdb-operator crd -o markdown`; change it there. `peersdb-operator check -f FILE` gives the
verdict of an API server: defaults, structure, unknown fields, rules. `[]` is an item of a list.
"""

_ABOUT = {
    CLUSTER: """\
A manifest with every field, commented, is `deploy/samples/full.yaml`. A field of `root` or a region that is left out of
`storage` means that of `spec.storage`.
""",
    BENCHMARK: """\
What it does is in [benchmarks.md](benchmarks.md); a manifest is `deploy/samples/benchmark.yaml`.
""",
}


def markdown() -> str:
    """Write the reference of all resources."""
    return "\n".join([_HEAD, *(_resource(resource, about) for resource, about in _ABOUT.items())])


def _resource(resource: Resource, about: str) -> str:
    schema = resource.schema()
    spec, status = schema["properties"]["spec"], schema["properties"]["status"]
    lines = [f"## {resource.kind} ({API_VERSION})", "", about]
    lines += ["### spec", "", "| field | type | default | meaning |", "|---|---|---|---|"]
    lines += _rows("", spec, with_default=True)
    lines += ["", "### Rules", "", "Beyond the limits of each field:", ""]
    lines += [
        f"- {path}{message}{' (of an update)' if update else ''}"
        for path, message, update in _rules("", schema)
    ]
    lines += ["", "### status", "", "| field | type | meaning |", "|---|---|---|"]
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


def _rules(path: str, node: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """List each rule: the part of the spec that it is about, what it demands, whether of an update."""
    for rule in node.get("x-kubernetes-validations", []):
        field = path.removeprefix(".spec").removeprefix(".")
        yield f"`{field}`: " if field else "", rule["message"], "oldSelf" in rule["rule"]
    for name, child in node.get("properties", {}).items():
        yield from _rules(f"{path}.{name}", child)
    yield from _rules(f"{path}[]", node["items"]) if "items" in node else ()
