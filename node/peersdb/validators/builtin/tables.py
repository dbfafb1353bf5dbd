"""Rows of a table, whatever format it has: for the validators that look at values."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterator
from typing import Any

from peersdb.validators.api import File
from peersdb.validators.media import sniff

#: Rows that are looked at unless the options say otherwise: some seconds, and some 100 MiB where each is remembered.
MAX_ROWS = 1_000_000
#: Bytes of one line.
MAX_LINE = 8 * 1024 * 1024
MISSING_PACKAGE = "is not installed: pip install 'peersdb[validators]'"
TEXT = frozenset(("text/csv", "text/tab-separated-values", "text/plain"))
LINES = "application/x-ndjson"
PARQUET = "application/vnd.apache.parquet"
_DELIMITERS = ",;\t|"


class NoTable(Exception):
    """It cannot be read as a table; the text says why."""


class CannotSay(Exception):
    """What reads this format is not here; the text says what is."""


def is_fault_of_data(error: Exception) -> bool:
    """Whether an error of pyarrow's is about the file, and not of memory or threads that it did not get.

    For damaged files it raises an OSError without a number, as well as errors that are a ValueError or the like.
    """
    if isinstance(error, OSError):
        return error.errno is None
    return isinstance(error, (ValueError, TypeError, LookupError)) and not isinstance(error, MemoryError)


def delimiter_of(file: File) -> str:
    """The delimiter of a text table: a tab by the media type, else what the first line has most of."""
    if file.media_type == "text/tab-separated-values":
        return "\t"
    first = file.head().partition(b"\n")[0].decode("utf-8", "replace")
    return max(_DELIMITERS, key=first.count)


def rows(file: File, most: int = MAX_ROWS) -> Iterator[dict[str, Any]]:
    """The rows, each by its columns' names; None and empty texts are missing values.

    Args:
        file: CSV, TSV, lines of JSON objects, or Parquet, told by the media type and the content.
        most: rows after which it ends.

    Raises:
        NoTable: it is none, or is damaged.
        CannotSay: its format needs a library that is not installed, or is not known.
    """
    kind = sniff(file.head())
    if kind == PARQUET:
        source = _parquet(file)
    elif LINES in {kind, file.media_type}:
        source = _lines(file)
    elif kind in TEXT:
        source = _text(file)
    else:
        raise CannotSay(f"there are no rows in {kind}")
    return itertools.islice(source, most)


def _text(file: File) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(MAX_LINE)
    with io.TextIOWrapper(file.open(), "utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, delimiter=delimiter_of(file))
        try:
            header = next(reader, [])
            for row in reader:
                if row:
                    yield dict(itertools.zip_longest(header, row[: len(header)]))
        except (csv.Error, UnicodeDecodeError) as error:
            raise NoTable(f"line {reader.line_num}: {error}") from error


def _lines(file: File) -> Iterator[dict[str, Any]]:
    with file.open() as stream:
        number = 0
        while line := stream.readline(MAX_LINE + 1):
            number += 1
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise NoTable(f"line {number}: {error}") from error
            if not isinstance(row, dict):
                raise NoTable(f"line {number}: is no object")
            yield row


def _parquet(file: File) -> Iterator[dict[str, Any]]:
    try:
        from pyarrow import ArrowException, parquet  # noqa: PLC0415
    except ImportError:
        raise CannotSay(f"pyarrow {MISSING_PACKAGE}") from None
    try:
        with parquet.ParquetFile(file.path, pre_buffer=False) as source:
            for batch in source.iter_batches(batch_size=8192, use_threads=False):
                yield from batch.to_pylist()
    except (ArrowException, OSError) as error:
        if not is_fault_of_data(error):
            raise
        raise NoTable(str(error)) from error
