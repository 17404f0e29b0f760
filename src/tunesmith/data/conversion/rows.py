# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The rows of a file as a conversion sees them: cells read back, columns chosen and renamed; faults as they come."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow

from tunesmith.data.conversion.arrow_types import cells_metadata
from tunesmith.data.conversion.cells import CellKind, from_cells, to_json_value
from tunesmith.data.conversion.stored import TABLES, schema_of, stored_cells
from tunesmith.data.sources.base import Fault, Record, file_type
from tunesmith.data.sources.columns import stored_reader

TEXT_TABLES = ("csv", "tsv")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file and how its rows are taken: kinds of cells, columns chosen (all when none is named), new names.

    `is_stored`: the rows go from one table with types to another, so values stay as they are stored.
    """

    path: Path
    cells: Mapping[str, CellKind] = field(default_factory=dict)
    columns: Sequence[str] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    is_stored: bool = False

    @property
    def type(self) -> str:
        """Name of the file type."""
        return file_type(self.path)

    def rows(self) -> Iterator[Record | Fault]:
        """Read the rows; unless they stay as stored, dates and decimals become text, as JSON has neither."""
        cells = self.cells if self.is_stored else {**stored_cells(self.path), **self.cells}
        for entry in stored_reader(self.path)(self.path):
            yield self._taken(entry, cells) if isinstance(entry, Record) else entry

    def _taken(self, entry: Record, cells: Mapping[str, CellKind]) -> Record | Fault:
        try:
            values = from_cells(entry.values, cells) if cells else dict(entry.values)
            if self.type in TABLES and not self.is_stored:
                values = to_json_value(values)
        except json.JSONDecodeError as error:
            return Fault(
                code="data.json_malformed",
                message=f"A cell of a column that --cells calls json is none: {error.msg} at character {error.pos}.",
                remedy="Correct the cell, or leave the column out of --cells.",
                row=entry.row,
            )
        except TypeError as error:
            return Fault(
                code="data.value_unstorable",
                message=f"A value holds {error}, which text cannot hold.",
                remedy="Leave the column out with --columns, or convert to parquet.",
                row=entry.row,
            )
        return self._renamed(entry.row, values)

    def _renamed(self, row: int, values: Mapping[str, Any]) -> Record | Fault:
        chosen = [name for name in self.columns or values if name in values]
        renamed = {self.rename.get(name, name): values[name] for name in chosen}
        if len(renamed) == len(chosen):
            return Record(row=row, values=renamed)
        return Fault(
            code="data.column_repeated",
            message=f"The new names give two columns one name; the row has {', '.join(map(repr, chosen))}.",
            remedy="Choose other names for --rename, or leave the other column out with --columns.",
            row=row,
        )


def stored_schema(source: Source) -> pyarrow.Schema:
    """Give the schema of a table, its columns chosen and renamed."""
    schema = schema_of(source.path)
    names = source.columns or schema.names
    fields = [schema.field(name).with_name(source.rename.get(name, name)) for name in names]
    cells = {source.rename.get(name, name): kind for name, kind in stored_cells(source.path).items() if name in names}
    return pyarrow.schema(fields, metadata=cells_metadata(cells))


def columns_as_text(source: Source) -> list[str]:
    """Name the columns whose dates or decimals become text because the target has neither."""
    if source.type not in TABLES or source.is_stored:
        return []
    chosen = source.columns
    return [one.name for one in schema_of(source.path) if (not chosen or one.name in chosen) and _is_textual(one.type)]


def _is_textual(kind: pyarrow.DataType) -> bool:
    if pyarrow.types.is_nested(kind):
        return any(_is_textual(kind.field(index).type) for index in range(kind.num_fields))
    return bool(pyarrow.types.is_temporal(kind) or pyarrow.types.is_decimal(kind))
