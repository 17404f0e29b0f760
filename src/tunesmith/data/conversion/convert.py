# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""One data file → another: a first pass looks at every row, its faults, its media and the types of its columns, a
second one writes; nothing is written unless every row can be.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow

from tunesmith.core.errors import MAX_ROWS_SHOWN, Problem, TunesmithError, Where, refusal
from tunesmith.core.files import write_stream_atomic
from tunesmith.core.names import nearest
from tunesmith.data.conversion.arrow_types import cells_metadata, column_type
from tunesmith.data.conversion.cells import CellKind, cell_kind
from tunesmith.data.conversion.media_paths import MediaFiles
from tunesmith.data.conversion.rows import TEXT_TABLES, Source, stored_schema
from tunesmith.data.conversion.shapes import Shape
from tunesmith.data.conversion.stored import TABLES
from tunesmith.data.conversion.writers import WRITERS, Layout
from tunesmith.data.sources.base import Fault, Record, file_type, readers, same_fault


@dataclass(kw_only=True)
class _Group:
    """Rows with one fault: the first in words, all counted, a hundred listed."""

    first: Fault
    rows: list[int] = field(default_factory=list)
    count: int = 0


@dataclass(kw_only=True)
class Scan:
    """What the first pass found; `missing` maps rows to their missing media, of which the first hundred are kept."""

    num_rows: int = 0
    columns: dict[str, Shape] = field(default_factory=dict)
    num_files: int = 0
    num_missing: int = 0
    num_rows_missing: int = 0
    missing: dict[int, list[str]] = field(default_factory=dict)
    faults: dict[str, _Group] = field(default_factory=dict)

    def add_fault(self, fault: Fault) -> None:
        """Keep a fault with those of its kind."""
        group = self.faults.setdefault(fault.code, _Group(first=fault))
        group.count += 1
        if fault.row is not None and len(group.rows) < MAX_ROWS_SHOWN:
            group.rows.append(fault.row)

    def add_missing(self, row: int, paths: Sequence[str]) -> None:
        """Keep the missing media of a row."""
        self.num_missing += len(paths)
        self.num_rows_missing += 1
        if len(self.missing) < MAX_ROWS_SHOWN:
            self.missing[row] = list(paths)


def scan(source: Source, media: MediaFiles) -> Scan:
    """Look at every row once."""
    found = Scan()
    for entry in source.rows():
        if isinstance(entry, Fault):
            found.num_rows += entry.row is not None
            found.add_fault(entry)
            continue
        found.num_rows += 1
        for name, value in entry.values.items():
            found.columns.setdefault(name, Shape()).add(value)
        missing = media.missing_of(entry.values)
        if missing:
            found.add_missing(entry.row, missing)
    found.num_files = media.num_checked
    return found


def check_paths(source: Path, target: Path, *, overwrite: bool) -> None:
    """Refuse files that are not there or of unknown type, and a target that would be lost."""
    readers.get(file_type(source))
    if not source.is_file():
        raise refusal(
            "data.file_missing", f"The data file {source} does not exist.", "Correct the path.", file=str(source)
        )
    kind, known = file_type(target), sorted(set(WRITERS) & set(readers.names()))
    if kind not in known:
        raise refusal(
            "data.file_type_unknown",
            f"{target} cannot be written: {repr(kind) if kind else 'no ending'} is no type that rows are written as.",
            f"End its name in one of: {', '.join(f'.{name}' for name in known)}." + nearest(kind, known),
            file=str(target),
        )
    if target.exists() and not (overwrite and target.is_file()):
        raise refusal(
            "data.target_exists",
            f"{target} exists already.",
            "Choose another name, or write --overwrite to replace the file.",
            file=str(target),
        )


def problems_of(found: Scan, source: Source) -> list[Problem]:
    """List what stops a conversion: rows that cannot be read, no rows, columns that are not there."""
    file = str(source.path)
    problems = [_fault_problem(group, file) for group in found.faults.values()]
    asked = dict.fromkeys([*source.columns, *source.cells, *source.rename])
    can_tell = found.num_rows > 0 and not problems
    absent = [name for name in asked if can_tell and source.rename.get(name, name) not in found.columns]
    problems += [_absent_problem(name, found, file) for name in absent]
    if not found.columns and not problems:
        where = Where(file=file, num_rows=found.num_rows)
        message = f"{file} has {'no rows' if not found.num_rows else 'rows without any column'}."
        problems.append(Problem(code="data.set_empty", message=message, remedy="Check the file.", where=where))
    return problems


def _absent_problem(name: str, found: Scan, file: str) -> Problem:
    return Problem(
        code="data.column_missing",
        message=f"No row has a column {name!r}"
        + (f"; there are {', '.join(map(repr, found.columns))}." if found.columns else "."),
        remedy=f"Correct the name.{nearest(name, found.columns)}",
        where=Where(file=file),
    )


def _fault_problem(group: _Group, file: str) -> Problem:
    fault = group.first
    others = same_fault(group.count - 1)
    place = f"row {fault.row}: " if fault.row is not None else ""
    rows = (tuple(group.rows), group.count) if group.rows else (None, None)
    where = Where(file=file, line=fault.line, rows=rows[0], num_rows=rows[1])
    return Problem(code=fault.code, message=f"{place}{fault.message}{others}", remedy=fault.remedy, where=where)


def media_problem(found: Scan, source: Source, folder: Path) -> Problem:
    """Name the media that are missing, with their rows."""
    row, paths = next(iter(found.missing.items()))
    return Problem(
        code="data.media_missing",
        message=f"{found.num_missing} of {found.num_files} media files that the rows name do not exist, for example "
        f"{paths[0]} of row {row}; looked for in {folder}.",
        remedy="Put the files there, name their folder with --media_dir, or write --allow_missing to convert anyway.",
        where=Where(file=str(source.path), rows=tuple(found.missing), num_rows=found.num_rows_missing),
    )


def choose_layout(found: Scan, source: Source, target_type: str) -> Layout:
    """Choose how each column is written, so that all its values can be read back."""
    names = list(found.columns)
    if source.is_stored:
        return Layout(columns=names, cells={}, schema=stored_schema(source))
    if target_type in TEXT_TABLES:
        kinds = {name: cell_kind(shape, found.num_rows) for name, shape in found.columns.items()}
        return Layout(columns=names, cells={name: kind for name, kind in kinds.items() if kind != "text"})
    if target_type not in TABLES:
        return Layout(columns=names)
    types = {name: column_type(shape, found.num_rows) for name, shape in found.columns.items()}
    cells: dict[str, CellKind] = {name: "json" for name, kind in types.items() if kind is None}
    cells |= {name: "absent" for name, kind in types.items() if kind and found.columns[name].count < found.num_rows}
    fields = [pyarrow.field(name, kind or pyarrow.string()) for name, kind in types.items()]
    return Layout(columns=names, cells=cells, schema=pyarrow.schema(fields, metadata=cells_metadata(cells)))


def write(source: Source, target: Path, layout: Layout) -> None:
    """Write all rows; the target is whole or as it was."""
    with write_stream_atomic(target) as stream:
        WRITERS[file_type(target)](stream, _records(source), layout)


def _records(source: Source) -> Iterator[Record]:
    """Give the rows of a file that had no faults a moment ago."""
    for entry in source.rows():
        if isinstance(entry, Fault):
            raise TunesmithError([_fault_problem(_Group(first=entry, count=1), str(source.path))])
        yield entry


def way_back(source: Source, target: Path, layout: Layout) -> str | None:
    """Write the command that gives the same rows back; None for types that are only read."""
    if source.type not in WRITERS:
        return None
    cells = ",".join(f"{name}={kind}" for name, kind in layout.cells.items())
    words = ["tunesmith data convert", f"{target}", f"{source.path}"]
    return " ".join([*words, f'--cells "{cells}"'] if cells and file_type(target) in TEXT_TABLES else words)
