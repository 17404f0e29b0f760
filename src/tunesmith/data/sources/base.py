# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The contract of a file reader: it cuts a file into spans of records, and reads the records and faults of a span.

A reader never stops at a bad record it can step over: everything wrong with a file is found in one pass. Neither
cutting nor reading holds more of a file than a span.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.core.errors import refusal
from tunesmith.core.names import nearest
from tunesmith.core.registry import Registry

# A span ends with the record that brings it to so many rows or bytes.
SPAN_ROWS = 1000
SPAN_BYTES = 4 * 2**20


@dataclass(frozen=True, kw_only=True)
class Record:
    """One record; `row` is its 0-based position in the file."""

    row: int
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that cannot be read: one record (`row`), or the file itself (`row` is None)."""

    code: str
    message: str
    remedy: str
    row: int | None = None
    line: int | None = None


@dataclass(frozen=True, kw_only=True)
class Position:
    """A place between two records of a file: the number of the next record, its 1-based line, and an offset.

    The offset is in bytes; in files that are tables of columns it is the number of the record.
    """

    offset: int = 0
    row: int = 0
    line: int = 1


@dataclass(frozen=True, kw_only=True)
class Span:
    """The records of a file between two positions; `digest` hashes what they are read from."""

    start: Position
    end: Position
    digest: str

    @property
    def num_rows(self) -> int:
        """Count the records, broken ones included."""
        return self.end.row - self.start.row


class Reader(ABC):
    """Reads one type of files."""

    @abstractmethod
    def cut(self, path: Path, start: Position, *, max_rows: int) -> Iterator[Span | Fault]:
        """Cut a file from a position on into spans in order; faults are those of the file itself."""

    @abstractmethod
    def read(self, path: Path, span: Span) -> Iterator[Record | Fault]:
        """Give the records and faults of a span in order, one entry a row."""

    def __call__(self, path: Path) -> Iterator[Record | Fault]:
        """Read a whole file: its own faults, and an entry for each row."""
        for span in self.cut(path, Position(), max_rows=SPAN_ROWS):
            if isinstance(span, Fault):
                yield span
            else:
                yield from self.read(path, span)


# Named by file suffix, without the dot.
readers: Registry[Reader] = Registry("file type", "tunesmith.data.sources", code="data.file_type_unknown")


def file_type(path: Path) -> str:
    """Give the name of the reader that a file's suffix asks for."""
    return path.suffix.removeprefix(".").lower()


def read_bytes(path: Path, span: Span, *, header: bytes = b"") -> bytes:
    """Read the bytes of a span, which must be what they were when it was cut; `header` was hashed before them."""
    with path.open("rb") as stream:
        stream.seek(span.start.offset)
        data = stream.read(span.end.offset - span.start.offset)
    if hashlib.sha256(header + data).hexdigest() != span.digest:
        raise file_changed(path)
    return data


def same_fault(others: int) -> str:
    """Say how many other rows have the fault that a message tells of."""
    if not others:
        return ""
    return f" {others} more rows have the same fault." if others > 1 else " 1 more row has the same fault."


def reader_of(path: Path) -> Reader:
    """Give the reader of a file, or refuse one whose type cannot be read."""
    name = file_type(path)
    if name not in readers.names():
        raise refusal(
            "data.file_type_unknown",
            f"The type of {path.as_posix()} is not one that is read: "
            + (f"its name ends in {path.suffix!r}." if name else "its name has no ending that says it."),
            f"Convert it, or let its name end in one of: {', '.join(f'.{known}' for known in readers.names())}."
            + nearest(name, readers.names()),
            file=path.as_posix(),
        )
    return readers.get(name)


def file_changed(path: Path) -> Exception:
    """Say that a file is not what it was when it was cut into spans."""
    return refusal(
        "data.file_changed",
        f"The file {path.as_posix()} changed while it was being read.",
        "Start again when nothing writes to it.",
        file=path.as_posix(),
    )


def to_record(row: int, value: Any, line: int | None = None) -> Record | Fault:
    """Take an object as a record; anything else is a fault."""
    if isinstance(value, dict):
        return Record(row=row, values=value)
    return Fault(
        code="data.row_malformed",
        message=f"A record must be an object with named columns, found {type(value).__name__}.",
        remedy='Write each record as {"column": value, …}.',
        row=row,
        line=line,
    )


def decode(data: bytes, *, row: int | None = None, line: int = 1) -> str | Fault:
    """Decode UTF-8 (a byte order mark is dropped), or say at which line and byte it is not; `line` is the first."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = line + data.count(b"\n", 0, error.start)
        return _encoding_fault(data, error.start, error.start, row=row, line=place)


def find_encoding_fault(path: Path) -> Fault:
    """Say where a file that cannot be decoded is no UTF-8."""
    before = 0
    with path.open("rb") as stream:
        for line, raw in enumerate(stream, start=1):
            try:
                raw.decode("utf-8")
            except UnicodeDecodeError as error:
                return _encoding_fault(raw, error.start, before + error.start, row=None, line=line)
            before += len(raw)
    raise file_changed(path)


def _encoding_fault(data: bytes, index: int, place: int, *, row: int | None, line: int) -> Fault:
    is_wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    return Fault(
        code="data.encoding_wrong",
        message=f"The text is {'UTF-16' if is_wide else 'no UTF-8'}: byte 0x{data[index]:02x} at byte "
        f"{place} of {'the line' if row is not None else 'the file'} (line {line}).",
        remedy="Save the file as UTF-8.",
        row=row,
        line=line,
    )
