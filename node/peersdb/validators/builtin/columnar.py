"""``parquet`` and ``arrow``: all of it can be read, and its columns are those that the options name; by pyarrow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from peersdb.validators.api import File, Finding, abstain, invalid, valid
from peersdb.validators.builtin.options import Kind, flag, mapping
from peersdb.validators.builtin.tables import MISSING_PACKAGE, PARQUET, is_fault_of_data
from peersdb.validators.media import sniff

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows that are decoded at once.
BATCH = 65_536
_ARROW = frozenset(("application/vnd.apache.arrow.file", "application/vnd.apache.arrow.stream"))

OPTIONS: Mapping[str, Kind] = {"schema": mapping(), "exact": flag()}


def prepare() -> None:
    """Imports pyarrow."""
    import pyarrow.parquet  # noqa: F401, PLC0415


def check_parquet(file: File, options: Mapping[str, Any]) -> Finding:
    """Invalid when a page cannot be decoded, or a column is not as the options say.

    Options:
        schema: names of columns with their types as pyarrow writes them (``{"id": "int64", "at": "timestamp[us]"}``).
        exact: whether there may be no other columns (false).
    """
    kind = sniff(file.head())
    return _check(file, options, kind) if kind == PARQUET else invalid(f"it is no Parquet but {kind}")


def check_arrow(file: File, options: Mapping[str, Any]) -> Finding:
    """The same for Arrow's files and streams (Feather)."""
    kind = sniff(file.head())
    return _check(file, options, kind) if kind in _ARROW else invalid(f"it is no Arrow file but {kind}")


def _check(file: File, options: Mapping[str, Any], kind: str) -> Finding:
    try:
        import pyarrow as pa  # noqa: PLC0415
    except ImportError:
        return abstain(f"pyarrow {MISSING_PACKAGE}")
    pa.set_cpu_count(1)
    count = 0
    try:
        with _opened(file, kind) as (schema, batches):
            fault = _difference(schema, options)
            if fault:
                return invalid(fault)
            for batch in batches:
                batch.validate(full=True)
                count += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        if not is_fault_of_data(error):
            raise
        return invalid(f"after {count} rows: {error}")
    return valid(f"{count} rows")


@contextmanager
def _opened(file: File, kind: str) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    if kind == PARQUET:
        with parquet.ParquetFile(file.path, pre_buffer=False) as source:
            yield source.schema_arrow, source.iter_batches(batch_size=BATCH, use_threads=False)
        return
    options = pa.ipc.IpcReadOptions(use_threads=False)
    # A buffer is read without the threads that a child may not have.
    with pa.memory_map(file.path) as mapped, pa.BufferReader(mapped.read_buffer()) as raw:
        if kind.endswith(".stream"):
            with pa.ipc.open_stream(raw, options=options) as stream:
                yield stream.schema, iter(stream)
        else:
            with pa.ipc.open_file(raw, options=options) as indexed:
                yield indexed.schema, (indexed.get_batch(at) for at in range(indexed.num_record_batches))


def _difference(schema: pa.Schema, options: Mapping[str, Any]) -> str:
    wanted = options.get("schema", {})
    has = {field.name: str(field.type) for field in schema}
    for name, kind in wanted.items():
        if name not in has:
            return f"there is no column {name!r}: there are {', '.join(has)}"
        if has[name] != kind:
            return f"column {name!r} is {has[name]}, not {kind}"
    others = [name for name in has if name not in wanted]
    return f"there are other columns: {', '.join(others)}" if others and options.get("exact") else ""
