# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Tables as text: csv and tsv files with a header line; every cell is text.

The one kind of table without a header that is known by its first line is MMLU's: a question, four choices, the answer.
"""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunesmith.data.sources.base import (
    SPAN_BYTES,
    Fault,
    Position,
    Reader,
    Record,
    Span,
    find_encoding_fault,
    read_bytes,
    readers,
)
from tunesmith.data.sources.lines import BOM

# A cell may hold a whole document; Python's limit is 128 kB, and the C type behind it has 32 bits on Windows.
csv.field_size_limit(2**31 - 1)

_LETTERS = ("A", "B", "C", "D")
_QUESTION = ("question", *_LETTERS, "answer")


class TableReader(Reader):
    """Reads tables whose cells are separated by one character; rows are counted behind the header."""

    def __init__(self, delimiter: str) -> None:
        self._delimiter = delimiter

    def cut(self, path: Path, start: Position, *, max_rows: int) -> Iterator[Span | Fault]:
        """Cut a table between its rows."""
        lines = _Lines(path, Position())
        reader = self._parser(lines)
        try:
            header: list[str] = next(reader, [])
            names = _names_of(header)
            if start == Position():
                yield from _header_faults(names)
                has_header = names is header
                start = Position(offset=lines.offset, line=1 + reader.line_num) if has_header else _first_line(path)
            if start.offset != lines.offset:
                lines = _Lines(path, start)
                reader = self._parser(lines)
            yield from _spans(reader, lines, _Cut(start, _header_bytes(names)), max_rows)
        except UnicodeDecodeError:
            yield find_encoding_fault(path)
        except csv.Error as error:
            yield _table_fault(error, lines.line)

    def read(self, path: Path, span: Span) -> Iterator[Record | Fault]:
        """Read the rows of a span under the names of the header."""
        header = _names_of(next(self._parser(_Lines(path, Position())), []))
        data = read_bytes(path, span, header=_header_bytes(header))
        reader = self._parser(io.StringIO(data.decode("utf-8"), newline=""))
        for row, cells in enumerate((cells for cells in reader if cells), start=span.start.row):
            if len(cells) == len(header):
                yield Record(row=row, values=dict(zip(header, cells, strict=True)))
            else:
                yield _ragged(row, span.start.line + reader.line_num - 1, len(cells), len(header))

    def _parser(self, lines: Any) -> Any:
        return csv.reader(lines, delimiter=self._delimiter, strict=True)


def _names_of(first: list[str]) -> list[str]:
    """Give the header, or MMLU's names where the first line is a question with four choices and a letter."""
    is_question = len(first) == len(_QUESTION) and first[-1].strip() in _LETTERS
    return list(_QUESTION) if is_question and not set(_LETTERS) <= set(first) else first


def _first_line(path: Path) -> Position:
    with path.open("rb") as stream:
        return Position(offset=len(BOM) if stream.read(len(BOM)) == BOM else 0)


class _Lines:
    """The lines of a file from a byte on, with their ends; knows where it is and hashes what it gave."""

    def __init__(self, path: Path, start: Position) -> None:
        self.offset, self.line = start.offset, start.line - 1
        self.digest = hashlib.sha256()
        self._path = path

    def __iter__(self) -> Iterator[str]:
        with self._path.open("rb") as stream:
            if self.offset == 0 and stream.read(len(BOM)) == BOM:
                self.offset = len(BOM)
            stream.seek(self.offset)
            for text in io.TextIOWrapper(stream, encoding="utf-8", newline=""):
                data = text.encode("utf-8")
                self.digest.update(data)
                self.offset += len(data)
                self.line += 1
                yield text


class _Cut:
    """The rows of the span that is being cut."""

    def __init__(self, start: Position, header: bytes) -> None:
        self.start, self.header, self.rows = start, header, 0


def _spans(reader: Any, lines: _Lines, cut: _Cut, max_rows: int) -> Iterator[Span]:
    first_line = cut.start.line - reader.line_num
    lines.digest = hashlib.sha256(cut.header)
    for cells in reader:
        cut.rows += bool(cells)
        if cut.rows >= max_rows or (lines.offset - cut.start.offset >= SPAN_BYTES and cut.rows):
            yield _span(cut, lines, first_line + reader.line_num)
    if cut.rows:
        yield _span(cut, lines, first_line + reader.line_num)


def _span(cut: _Cut, lines: _Lines, line: int) -> Span:
    end = Position(offset=lines.offset, row=cut.start.row + cut.rows, line=line)
    span = Span(start=cut.start, end=end, digest=lines.digest.hexdigest())
    cut.start, cut.rows, lines.digest = end, 0, hashlib.sha256(cut.header)
    return span


def _header_bytes(header: list[str]) -> bytes:
    return "\x1f".join(header).encode("utf-8")


def _table_fault(error: csv.Error, line: int) -> Fault:
    return Fault(
        code="data.table_malformed",
        message=f"Line {line} is no valid row of a table: {error}.",
        remedy="Correct the quoting of the line.",
        line=line,
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


readers.register("csv")(TableReader(","))
readers.register("tsv")(TableReader("\t"))
