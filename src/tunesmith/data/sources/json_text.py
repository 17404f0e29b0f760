# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""JSON files: a list of objects, or JSON lines whatever the file is called."""

import json
from collections.abc import Iterator
from pathlib import Path

from tunesmith.data.sources.base import Fault, Position, Reader, Record, Span, decode, readers, to_record
from tunesmith.data.sources.json_list import JsonList, malformed
from tunesmith.data.sources.lines import BOM, LineReader, is_blank

# A file beyond this size is not read whole to find out that it is one object.
_ONE_OBJECT_BYTES = 256 * 2**20


class JsonLines(LineReader):
    """Reads one object a line."""

    def parse(self, raw: bytes, row: int, line: int) -> Record | Fault:
        """Parse a line."""
        text = decode(raw, row=row, line=line)
        if isinstance(text, Fault):
            return text
        try:
            return to_record(row, json.loads(text), line)
        except json.JSONDecodeError as error:
            return malformed(error.msg, line=line, column=error.colno, row=row)


class JsonFile(Reader):
    """Reads a list of objects, or else one object a line, in which blank lines are no records."""

    _lines, _list = JsonLines(), JsonList()

    def cut(self, path: Path, start: Position, *, max_rows: int) -> Iterator[Span | Fault]:
        """Cut a file between objects."""
        first = _first_line(path)
        if first.startswith(b"["):
            yield from self._list.cut(path, start, max_rows=max_rows)
        elif start == Position() and not _is_json(first) and (fault := _one_object(path)) is not None:
            yield fault
        else:
            yield from self._lines.cut(path, start, max_rows=max_rows)

    def read(self, path: Path, span: Span) -> Iterator[Record | Fault]:
        """Read the objects of a span."""
        reader = self._list if _first_line(path).startswith(b"[") else self._lines
        yield from reader.read(path, span)


def _first_line(path: Path) -> bytes:
    """Give the first line that is not blank, cut off where it is very long."""
    with path.open("rb") as stream:
        for raw in iter(lambda: stream.readline(2**20), b""):
            if not is_blank(raw):
                return raw.removeprefix(BOM).strip()
    return b""


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:  # of JSON or of UTF-8
        return False
    return True


def _one_object(path: Path) -> Fault | None:
    """Say so when the whole file is one object, written over several lines."""
    if path.stat().st_size > _ONE_OBJECT_BYTES:
        return None
    try:
        content = json.loads(path.read_bytes())
    except ValueError:  # of JSON or of UTF-8
        return None
    if not isinstance(content, dict):
        return None
    lists = [key for key, value in content.items() if isinstance(value, list)]
    found = f"; its member {lists[0]!r} is a list" if lists else ""
    return Fault(
        code="data.row_malformed",
        message=f"The file is one object; a list of objects is expected{found}.",
        remedy="Write the records as a list, or one object a line.",
        line=1,
    )


readers.register("json")(readers.register("jsonl")(JsonFile()))
