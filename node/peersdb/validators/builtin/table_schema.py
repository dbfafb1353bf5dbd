"""``csv``: a CSV or TSV file that is consistent, and what a Table Schema says of it; by frictionless."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from peersdb.validators.api import File, Finding, OptionsError, abstain, invalid, valid
from peersdb.validators.builtin.options import Kind, flag, mapping, number, text
from peersdb.validators.builtin.tables import MAX_LINE, MISSING_PACKAGE, delimiter_of

if TYPE_CHECKING:
    from frictionless import Schema

#: Rows that are looked at: of 20 columns they take about 10 s of the 30 s of processor time that a validator has.
MAX_ROWS = 250_000

OPTIONS: Mapping[str, Kind] = {
    "schema": mapping(),
    "infer_types": flag(),
    "max_rows": number(1, 2**40),
    "delimiter": text(),
    "encoding": text(),
}


def prepare() -> None:
    """Imports frictionless, and what it imports on its first use."""
    import frictionless  # noqa: PLC0415

    frictionless.Resource(data=b"a,b\n1,2\n", format="csv", encoding="utf-8").validate()


def check(file: File, options: Mapping[str, Any]) -> Finding:
    """Invalid when rows differ in width from the header, names are empty or twice, or the schema is not met.

    Options:
        schema: a Table Schema (datapackage.org): fields with types and constraints, missing values, keys.
        infer_types: without a schema, each column has to have the type of its first 100 values (false).
        max_rows: how many are looked at (250,000); a longer file is judged by these.
        delimiter: a tab for TSV, else what the first line has most of, unless given.
        encoding: ``utf-8`` unless given.
    """
    try:
        from frictionless import Checklist, Detector, Dialect, Resource, system  # noqa: PLC0415
        from frictionless.formats import CsvControl  # noqa: PLC0415
    except ImportError:
        return abstain(f"frictionless {MISSING_PACKAGE}")
    csv.field_size_limit(MAX_LINE)
    schema = _schema(options["schema"]) if "schema" in options else None
    most = options.get("max_rows", MAX_ROWS)
    with system.use_context(trusted=True):  # the path is absolute, and ours
        report = Resource(
            path=file.path,
            scheme="file",
            format="csv",
            encoding=options.get("encoding", "utf-8"),
            dialect=Dialect(controls=[CsvControl(delimiter=options.get("delimiter") or delimiter_of(file))]),
            schema=schema,
            detector=Detector() if options.get("infer_types") else Detector(field_type="any"),
        ).validate(Checklist(skip_errors=["blank-row"]), limit_errors=1, limit_rows=most)
    errors = [*report.errors, *(error for task in report.tasks for error in task.errors)]
    if errors:
        return invalid(f"{errors[0].type}: {errors[0].message}")
    count = sum(task.stats.get("rows", 0) for task in report.tasks)
    return valid(f"the first {count} rows" if count >= most else f"{count} rows")


def _schema(descriptor: Mapping[str, Any]) -> Schema:
    from frictionless import FrictionlessException, Schema  # noqa: PLC0415

    try:
        return Schema.from_descriptor(dict(descriptor))
    except FrictionlessException as error:
        raise OptionsError(f"schema: {error}") from error
