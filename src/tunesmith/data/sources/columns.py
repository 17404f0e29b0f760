# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Tables by columns: parquet files, and Arrow files as `datasets` keeps them; read in batches, never whole.

Columns that a conversion of ours wrote as JSON text are read back as what they were. These files cannot be entered at
any row: a process that reads spans one after the other keeps its place in the file.
"""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from tunesmith.core.files import sha256_file
from tunesmith.data.conversion.cells import CellKind, from_cells
from tunesmith.data.conversion.stored import stored_cells
from tunesmith.data.sources.base import (
    Fault,
    Position,
    Reader,
    Record,
    Span,
    file_changed,
    file_type,
    reader_of,
    readers,
)

_BATCH_ROWS = 1000
_BUFFER_BYTES = 2**20


class ColumnReader(Reader):
    """Reads the rows of record batches."""

    def __init__(self, *, as_stored: bool = False) -> None:
        """`as_stored` leaves the cells of a conversion as the text that they are."""
        self._as_stored = as_stored
        self._open: _Cursor | None = None

    def _cells(self, path: Path) -> dict[str, CellKind]:
        return {} if self._as_stored else stored_cells(path)

    @abstractmethod
    def batches(self, path: Path) -> Iterator[Any]:
        """Give the record batches of a file."""

    @abstractmethod
    def count(self, path: Path) -> int:
        """Count the rows of a file without reading them, as far as its type allows."""

    def cut(self, path: Path, start: Position, *, max_rows: int) -> Iterator[Span | Fault]:
        """Cut a file by numbers of rows."""
        try:
            num_rows = self.count(path)
        except (pyarrow.ArrowInvalid, OSError) as error:
            yield _file_fault(error)
            return
        digest = sha256_file(path)
        for first in range(start.row, num_rows, max_rows):
            last = min(first + max_rows, num_rows)
            yield Span(start=_at(first), end=_at(last), digest=_hash(digest, first, last))

    def read(self, path: Path, span: Span) -> Iterator[Record | Fault]:
        """Read some rows; going on where the last span ended costs nothing."""
        cursor = self._open
        self._open = None
        if cursor is None or cursor.path != path or cursor.row > span.start.row:
            cursor = _Cursor(path, self.batches(path), self._cells(path))
        try:
            yield from cursor.read(span)
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise file_changed(path) from error
        self._open = cursor if cursor.row == span.end.row else None

    def __call__(self, path: Path) -> Iterator[Record | Fault]:
        """Read a whole file."""
        row, cells = 0, self._cells(path)
        try:
            for batch in self.batches(path):
                for values in batch.to_pylist():
                    yield _record(row, values, cells)
                    row += 1
        except (pyarrow.ArrowInvalid, OSError) as error:
            yield _file_fault(error)


class _Cursor:
    """A place in a file that is read from its start to its end."""

    def __init__(self, path: Path, batches: Iterator[Any], cells: Mapping[str, CellKind]) -> None:
        self.path, self.row = path, 0
        self._cells = cells
        self._batches = batches
        self._rest: Any = None

    def read(self, span: Span) -> Iterator[Record | Fault]:
        while self.row < span.end.row:
            batch = self._rest if self._rest is not None else next(self._batches, None)
            self._rest = None
            if batch is None:
                raise file_changed(self.path)
            skipped = min(max(span.start.row - self.row, 0), batch.num_rows)
            taken = min(span.end.row - self.row - skipped, batch.num_rows - skipped)
            self.row += skipped
            for values in batch.slice(skipped, taken).to_pylist():
                yield _record(self.row, values, self._cells)
                self.row += 1
            if skipped + taken < batch.num_rows:
                self._rest = batch.slice(skipped + taken)


class ParquetReader(ColumnReader):
    """Reads parquet files."""

    def batches(self, path: Path) -> Iterator[Any]:
        """Read through a small buffer: a file may be one group of a million rows."""
        with pyarrow.parquet.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
            yield from file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False)

    def count(self, path: Path) -> int:
        """Read the count from the file's end."""
        return int(pyarrow.parquet.read_metadata(path).num_rows)


class ArrowReader(ColumnReader):
    """Reads Arrow files, of the random-access and of the streaming kind."""

    def batches(self, path: Path) -> Iterator[Any]:
        """Read batch by batch."""
        with closing(pyarrow.OSFile(str(path), "rb")) as file:
            try:
                table = pyarrow.ipc.open_file(file)
            except pyarrow.ArrowInvalid:
                file.seek(0)
                yield from pyarrow.ipc.open_stream(file)
                return
            for number in range(table.num_record_batches):
                yield table.get_batch(number)

    def count(self, path: Path) -> int:
        """Add up the batches."""
        return sum(batch.num_rows for batch in self.batches(path))


def _at(row: int) -> Position:
    return Position(offset=row, row=row)


def _hash(digest: str, first: int, last: int) -> str:
    return hashlib.sha256(f"{digest} {first} {last}".encode()).hexdigest()


def _record(row: int, values: Mapping[str, Any], cells: Mapping[str, CellKind]) -> Record | Fault:
    values = {key: _without_filling(value) for key, value in values.items()}
    try:
        return Record(row=row, values=from_cells(values, cells) if cells else values)
    except (json.JSONDecodeError, TypeError) as error:
        return Fault(
            code="data.json_malformed",
            message=f"A cell of a column that the file itself calls JSON text is none: {error}.",
            remedy="Convert the file again with `tunesmith data convert`.",
            row=row,
        )


def _file_fault(error: Exception) -> Fault:
    return Fault(
        code="data.table_malformed",
        message=f"The file cannot be read as a table of columns: {error}.",
        remedy="Write the file again, or check that it was copied whole.",
    )


def _without_filling(value: Any) -> Any:
    """Drop null members of nested objects: the column type fills in the members that only other rows have."""
    if isinstance(value, dict):
        return {key: _without_filling(item) for key, item in value.items() if item is not None}
    return [_without_filling(item) for item in value] if isinstance(value, list) else value


def stored_reader(path: Path) -> Reader:
    """Give the reader of a file, of a table one that leaves the cells of a conversion as they are stored."""
    return _STORED.get(file_type(path)) or reader_of(path)


_STORED: Mapping[str, Reader] = {"parquet": ParquetReader(as_stored=True), "arrow": ArrowReader(as_stored=True)}
readers.register("parquet")(ParquetReader())
readers.register("arrow")(ArrowReader())
