"""``json``: well-formed JSON, or lines of it, and what a JSON Schema says of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Never

from peersdb.validators.api import File, Finding, OptionsError, abstain, invalid, valid
from peersdb.validators.builtin.options import Kind, mapping, number, text

#: Bytes of a document, which is read whole: it takes about ten times as much memory.
MAX_DOCUMENT = 32 * 1024 * 1024
#: Bytes of one line of many.
MAX_LINE = 8 * 1024 * 1024

OPTIONS: Mapping[str, Kind] = {
    "schema": mapping(),
    "form": text("document", "lines"),
    "max_bytes": number(1, 2**40),
}


def prepare() -> None:
    """Imports jsonschema."""
    import jsonschema  # noqa: F401, PLC0415


def check(file: File, options: Mapping[str, Any]) -> Finding:
    """Invalid when it is not JSON by RFC 8259 in UTF-8, or not as the schema says.

    Options:
        schema: a JSON Schema (draft 2020-12 unless it names another); of lines it is held against each. References
            to other documents are not followed.
        form: ``document`` or ``lines``; by the media type unless given.
        max_bytes: of a document, 32 MiB unless given: a larger one is abstained from.
    """
    schema = _Schema(options["schema"]) if "schema" in options else None
    if schema is not None and schema.missing:
        return abstain("jsonschema is not installed: pip install 'peersdb[validators]'")
    lines = (
        options.get("form", "lines" if file.media_type == "application/x-ndjson" else "document") == "lines"
    )
    most = options.get("max_bytes", MAX_DOCUMENT)
    if not lines and file.size > most:
        return abstain(f"it has {file.size} bytes, more than the {most} that are read at once")
    count = 0
    for place, data in _parts(file, lines=lines):
        fault = (
            f"is longer than {MAX_LINE} bytes"
            if lines and len(data) > MAX_LINE
            else _fault(data, count, schema)
        )
        if fault:
            return invalid(f"{place}{fault}")
        count += 1
    if count == 0:
        return invalid("there is no value in it")
    return valid(f"{count} lines" if lines else "")


def _fault(data: bytes, number_: int, schema: _Schema | None) -> str:
    """What is wrong with one value, or empty."""
    try:
        # Only a file's first bytes may be a mark of the byte order.
        value = json.loads(data.decode("utf-8" if number_ else "utf-8-sig"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        return f"is not UTF-8: byte {error.start}"
    except RecursionError:
        return "is nested too deeply"
    except ValueError as error:
        return str(error)
    return "" if schema is None else schema.fault(value)


def _parts(file: File, *, lines: bool) -> Iterator[tuple[str, bytes]]:
    with file.open() as stream:
        if not lines:
            yield "", stream.read()
            return
        number_ = 0
        while line := stream.readline(MAX_LINE + 1):
            number_ += 1
            if line.strip():
                yield f"line {number_}: ", line


def _no_constant(name: str) -> Never:
    raise ValueError(f"{name} is no JSON")


class _Schema:
    """A JSON Schema, compiled once a file."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.missing = False
        try:
            import jsonschema  # noqa: PLC0415
            import referencing  # noqa: PLC0415
        except ImportError:
            self.missing = True
            return
        kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        try:
            kind.check_schema(dict(schema))
        except jsonschema.SchemaError as error:
            raise OptionsError(f"schema: {error.message}") from error
        self._validator = kind(dict(schema), registry=referencing.Registry())

    def fault(self, value: Any) -> str:
        """What is wrong and where, or empty."""
        error = next(self._validator.iter_errors(value), None)
        return "" if error is None else f"{error.json_path}: {error.message}"
