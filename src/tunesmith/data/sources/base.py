# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The contract of a file reader: a function path → records and faults, in file order, one reader a file type.

A reader never stops at a bad record it can step over: everything wrong with a file is found in one pass.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.core.registry import Registry


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


Reader = Callable[[Path], Iterator[Record | Fault]]

# Named by file suffix, without the dot.
readers: Registry[Reader] = Registry("file type", "tunesmith.data.sources", code="data.file_type_unknown")


def file_type(path: Path) -> str:
    """Give the name of the reader that a file's suffix asks for."""
    return path.suffix.removeprefix(".").lower()


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
        is_wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        return Fault(
            code="data.encoding_wrong",
            message=f"The text is {'UTF-16' if is_wide else 'no UTF-8'}: byte 0x{data[error.start]:02x} at byte "
            f"{error.start} of {'the line' if row is not None else 'the file'} (line {place}).",
            remedy="Save the file as UTF-8.",
            row=row,
            line=place,
        )
