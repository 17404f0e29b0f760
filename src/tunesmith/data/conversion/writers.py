# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Writers of rows into one file of a type, row by row or in batches of rows; the caller gives the open file.

JSON keeps every value; text tables and parquet write columns by the kinds that were chosen for them.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, BinaryIO

import pyarrow
import pyarrow.ipc
import pyarrow.parquet

from tunesmith.core.errors import refusal
from tunesmith.data.conversion.cells import CellKind, to_cell, to_json_text
from tunesmith.data.sources.base import Record

_BATCH_ROWS = 1000


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Columns in order; `cells` are the kinds of those that a text table or parquet does not hold as they stand.

    `schema` holds the types of a parquet or arrow file.
    """

    columns: Sequence[str]
    cells: Mapping[str, CellKind] = field(default_factory=dict)
    schema: pyarrow.Schema | None = None


Writer = Callable[[BinaryIO, Iterable[Record], Layout], None]


def write_jsonl(stream: BinaryIO, rows: Iterable[Record], layout: Layout) -> None:
    """Write one object a line."""
    for row in rows:
        stream.write(_json_line(row) + b"\n")


def write_json(stream: BinaryIO, rows: Iterable[Record], layout: Layout) -> None:
    """Write a list of objects, one a line."""
    before = b"[\n"
    for row in rows:
        stream.write(before + _json_line(row))
        before = b",\n"
    stream.write(b"\n]\n")


def write_csv(stream: BinaryIO, rows: Iterable[Record], layout: Layout) -> None:
    """Write a comma-separated table."""
    _write_table(stream, rows, layout, ",")


def write_tsv(stream: BinaryIO, rows: Iterable[Record], layout: Layout) -> None:
    """Write a tab-separated table."""
    _write_table(stream, rows, layout, "\t")


def write_parquet(stream: BinaryIO, rows: Iterable[Record], layout: Layout) -> None:
    """Write a parquet file in batches of rows."""
    assert layout.schema is not None
    with pyarrow.parquet.ParquetWriter(stream, layout.schema) as writer:
        for batch in _batches(rows, layout):
            writer.write_batch(batch)


def write_arrow(stream: BinaryIO, rows: Iterable[Record], layout: Layout) -> None:
    """Write an arrow IPC file in batches of rows."""
    assert layout.schema is not None
    with pyarrow.ipc.new_file(stream, layout.schema) as writer:
        for batch in _batches(rows, layout):
            writer.write_batch(batch)


WRITERS: Mapping[str, Writer] = {
    "csv": write_csv,
    "json": write_json,
    "jsonl": write_jsonl,
    "parquet": write_parquet,
    "tsv": write_tsv,
    "arrow": write_arrow,
}


def _json_line(row: Record) -> bytes:
    try:
        return to_json_text(dict(row.values)).encode("utf-8")
    except UnicodeEncodeError:  # half a character, which JSON can escape
        return json.dumps(dict(row.values)).encode("ascii")
    except (ValueError, TypeError) as error:
        raise _unstorable(row, error) from error


def _write_table(stream: BinaryIO, rows: Iterable[Record], layout: Layout, delimiter: str) -> None:
    buffer = io.StringIO(newline="")
    # Cells with any character of the line end are quoted, so that it may stand inside them.
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator="\r\n")
    writer.writerow(layout.columns)
    for row in rows:
        try:
            writer.writerow([to_cell(row.values, name, layout.cells.get(name, "text")) for name in layout.columns])
            stream.write(buffer.getvalue().encode("utf-8"))
        except (ValueError, TypeError) as error:
            raise _unstorable(row, error) from error
        buffer.seek(0)
        buffer.truncate()


def _batches(rows: Iterable[Record], layout: Layout) -> Iterator[pyarrow.RecordBatch]:
    remaining = iter(rows)
    while batch := list(islice(remaining, _BATCH_ROWS)):
        values = [_table_values(row, layout) for row in batch]
        try:
            yield pyarrow.RecordBatch.from_pylist(values, schema=layout.schema)
        except (pyarrow.ArrowInvalid, UnicodeEncodeError):
            yield from _single_batches(batch, values, layout)


def _single_batches(
    batch: Sequence[Record], values: Sequence[Mapping[str, Any]], layout: Layout
) -> Iterator[pyarrow.RecordBatch]:
    """Write the rows of a batch one by one, to name the one that cannot be written."""
    for row, one in zip(batch, values, strict=True):
        try:
            yield pyarrow.RecordBatch.from_pylist([one], schema=layout.schema)
        except (pyarrow.ArrowInvalid, UnicodeEncodeError) as error:
            raise _unstorable(row, error) from error


def _table_values(row: Record, layout: Layout) -> Mapping[str, Any]:
    as_json = [name for name, kind in layout.cells.items() if kind == "json" and name in row.values]
    try:
        return {**row.values, **{name: to_json_text(row.values[name]) for name in as_json}}
    except (ValueError, TypeError) as error:
        raise _unstorable(row, error) from error


def _unstorable(row: Record, error: Exception) -> Exception:
    return refusal(
        "data.value_unstorable",
        f"Row {row.row} has a value that the file type cannot hold: {error}.",
        "Correct the row, leave its column out with --columns, or convert to another file type.",
        rows=(row.row,),
        num_rows=1,
    )
