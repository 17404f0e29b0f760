# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""JSON files: a list of objects, or JSON lines whatever the file is called."""

import json
from collections.abc import Iterator
from pathlib import Path

from tunesmith.data.sources.base import Fault, Record, decode, readers, to_record

_BOM = b"\xef\xbb\xbf"


@readers.register("json")
@readers.register("jsonl")
def read_json(path: Path) -> Iterator[Record | Fault]:
    """Read a list of objects, or else one object a line, in which blank lines are no records."""
    return _read_list(path) if _starts_list(path) else _read_lines(path)


def _starts_list(path: Path) -> bool:
    with path.open("rb") as stream:
        for line in stream:
            text = line.removeprefix(_BOM).strip()
            if text:
                return text.startswith(b"[")
    return False


def _read_list(path: Path) -> Iterator[Record | Fault]:
    text = decode(path.read_bytes())
    if isinstance(text, Fault):
        yield text
        return
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        yield _malformed(error, line=error.lineno)
        return
    for row, value in enumerate(values):
        yield to_record(row, value)


def _read_lines(path: Path) -> Iterator[Record | Fault]:
    row = 0
    with path.open("rb") as stream:
        for line, raw in enumerate(stream, start=1):
            if not raw.removeprefix(_BOM).strip():
                continue
            text = decode(raw, row=row, line=line)
            entry = text if isinstance(text, Fault) else _parse_line(text, row, line)
            if row == 0 and isinstance(entry, Fault) and _is_one_object(path):
                yield _not_a_list(path)
                return
            yield entry
            row += 1


def _is_one_object(path: Path) -> bool:
    """Say whether the whole file is one object, written over several lines."""
    try:
        return isinstance(json.loads(path.read_bytes()), dict)
    except ValueError:  # of JSON or of UTF-8
        return False


def _not_a_list(path: Path) -> Fault:
    lists = [key for key, value in json.loads(path.read_bytes()).items() if isinstance(value, list)]
    found = f"; its member {lists[0]!r} is a list" if lists else ""
    return Fault(
        code="data.row_malformed",
        message=f"The file is one object; a list of objects is expected{found}.",
        remedy="Write the records as a list, or one object a line.",
        line=1,
    )


def _parse_line(text: str, row: int, line: int) -> Record | Fault:
    try:
        return to_record(row, json.loads(text), line)
    except json.JSONDecodeError as error:
        return _malformed(error, line=line, row=row)


def _malformed(error: json.JSONDecodeError, *, line: int, row: int | None = None) -> Fault:
    return Fault(
        code="data.json_malformed",
        message=f"Line {line} is no valid JSON: {error.msg} at column {error.colno}.",
        remedy="Correct the line; a .jsonl file has one whole object a line, a .json file one list of objects.",
        row=row,
        line=line,
    )
