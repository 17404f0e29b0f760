# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Tables as text: csv and tsv files with a header line; every cell is text."""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tunesmith.data.sources.base import Fault, Record, decode, readers

# A cell may hold a whole document; Python's limit is 128 kB, and the C type behind it has 32 bits on Windows.
csv.field_size_limit(2**31 - 1)


@readers.register("csv")
def read_csv(path: Path) -> Iterator[Record | Fault]:
    """Read a comma-separated table."""
    return _read_table(path, ",")


@readers.register("tsv")
def read_tsv(path: Path) -> Iterator[Record | Fault]:
    """Read a tab-separated table."""
    return _read_table(path, "\t")


def _read_table(path: Path, delimiter: str) -> Iterator[Record | Fault]:
    text = decode(path.read_bytes())
    if isinstance(text, Fault):
        yield text
        return
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        yield from _header_faults(header)
        cells_of_rows = (cells for cells in reader if cells)
        for row, cells in enumerate(cells_of_rows):
            if len(cells) == len(header):
                yield Record(row=row, values=dict(zip(header, cells, strict=True)))
            else:
                yield _ragged(row, reader.line_num, len(cells), len(header))
    except csv.Error as error:
        yield Fault(
            code="data.table_malformed",
            message=f"Line {reader.line_num} is no valid row of a table: {error}.",
            remedy="Correct the quoting of the line.",
            line=reader.line_num,
        )


def _header_faults(header: list[str]) -> Iterator[Fault]:
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        yield Fault(
            code="data.table_malformed",
            message=f"The header names {', '.join(map(repr, twice))} more than once.",
            remedy="Give every column a name of its own in the first line.",
            line=1,
        )


def _ragged(row: int, line: int, found: int, expected: int) -> Fault:
    return Fault(
        code="data.row_malformed",
        message=f"Line {line} has {found} cells, the header {expected}.",
        remedy="Give the row as many cells as the header; cells with the delimiter in them need quotes.",
        row=row,
        line=line,
    )
