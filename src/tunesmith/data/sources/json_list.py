# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""JSON files that are one list: scanned element by element through a window, so that the list is never held whole."""

import codecs
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tunesmith.data.sources.base import (
    SPAN_BYTES,
    Fault,
    Position,
    Reader,
    Record,
    Span,
    file_changed,
    find_encoding_fault,
    read_bytes,
    to_record,
)

_CHUNK_BYTES = 2**20
_SPACE = " \t\r\n"
# What ends a value for certain; a number may go on where the window ends.
_BEHIND_VALUE = tuple(",]" + _SPACE)
# An error of the parser so near to the end of the window may be the window's.
_BORDER = 16
_decoder = json.JSONDecoder()


class JsonList(Reader):
    """Reads the elements of a list; a span holds the text from behind one element to behind another."""

    def cut(self, path: Path, start: Position, *, max_rows: int) -> Iterator[Span | Fault]:
        """Cut a list between its elements."""
        with path.open("rb") as stream:
            window = _Window(stream, start)
            try:
                yield from _spans(window, start, max_rows)
            except UnicodeDecodeError:
                yield find_encoding_fault(path)
            except _MalformedError as error:
                line, column = window.place_of(error.place)
                yield malformed(error.message, line=line, column=column)

    def read(self, path: Path, span: Span) -> Iterator[Record | Fault]:
        """Parse the elements of a span."""
        text = read_bytes(path, span).decode("utf-8").lstrip(_SPACE).removeprefix(",")
        values = json.loads(f"[{text}]")
        if len(values) != span.num_rows:
            raise file_changed(path)
        for row, value in enumerate(values, start=span.start.row):
            yield to_record(row, value)


def malformed(message: str, *, line: int, column: int, row: int | None = None) -> Fault:
    """Say where a text is no JSON."""
    return Fault(
        code="data.json_malformed",
        message=f"Line {line} is no valid JSON: {message} at column {column}.",
        remedy="Correct the line; a .jsonl file has one whole object a line, a .json file one list of objects.",
        row=row,
        line=line,
    )


class _MalformedError(Exception):
    """The text of the window is no JSON at a place."""

    def __init__(self, message: str, place: int) -> None:
        super().__init__(message)
        self.message, self.place = message, place


class _Window:
    """A part of a file's text that grows at its end and is cut off at its start; it knows its byte, line and column."""

    def __init__(self, stream: BinaryIO, start: Position) -> None:
        self.text, self.is_last = "", False
        self._stream, self._line, self._column = stream, start.line, 1
        stream.seek(start.offset)
        self._decode = codecs.getincrementaldecoder("utf-8")().decode

    def grow(self) -> None:
        """Read on; the next part is as long as what is there, so that a long element is not parsed too often."""
        data = self._stream.read(max(_CHUNK_BYTES, len(self.text)))
        self.is_last = not data
        self.text += self._decode(data, final=self.is_last)

    def skip_space(self, place: int) -> int:
        """Give the next place that is no white space; the end of the text when there is none in the file."""
        while True:
            while place < len(self.text) and self.text[place] in _SPACE:
                place += 1
            if place < len(self.text) or self.is_last:
                return place
            self.grow()

    def place_of(self, place: int) -> tuple[int, int]:
        """Give line and column of a place, both from 1."""
        newline = self.text.rfind("\n", 0, place)
        column = self._column + place if newline < 0 else place - newline
        return self._line + self.text.count("\n", 0, place), column

    def drop(self, end: int) -> bytes:
        """Cut the text off before a place, and give the bytes that it was."""
        self._line, self._column = self.place_of(end)
        data = self.text[:end].encode("utf-8")
        self.text = self.text[end:]
        return data


def _spans(window: _Window, start: Position, max_rows: int) -> Iterator[Span]:
    is_first = start.offset == 0
    if is_first:
        window.grow()
        bracket = window.text.index("[")  # behind a byte order mark and white space, as the caller saw
        data = window.drop(bracket + 1)
        start = Position(offset=len(data), row=0, line=window.place_of(0)[0])
    place, rows = 0, 0
    while (end := _element_end(window, place, is_first=is_first)) is not None:
        place, is_first, rows = end, False, rows + 1
        if rows == max_rows or place >= SPAN_BYTES:
            span = _span(window, start, place, rows)
            yield span
            start, place, rows = span.end, 0, 0
    if rows:
        yield _span(window, start, place, rows)


def _span(window: _Window, start: Position, place: int, rows: int) -> Span:
    data = window.drop(place)
    end = Position(offset=start.offset + len(data), row=start.row + rows, line=window.place_of(0)[0])
    return Span(start=start, end=end, digest=hashlib.sha256(data).hexdigest())


def _element_end(window: _Window, place: int, *, is_first: bool) -> int | None:
    """Find the end of the next element; None at the end of the list, behind which there must be nothing."""
    place = window.skip_space(place)
    mark = window.text[place : place + 1]
    if mark == "]":
        place = window.skip_space(place + 1)
        if place < len(window.text):
            raise _MalformedError("Extra data", place)
        return None
    if not is_first:
        if mark != ",":
            raise _MalformedError("Expecting ',' delimiter", place)
        place = window.skip_space(place + 1)
    return _value_end(window, place)


def _value_end(window: _Window, place: int) -> int:
    """Parse a value for its end; an error near the end of the window waits for more text."""
    while True:
        try:
            end = _decoder.raw_decode(window.text, place)[1]
        except json.JSONDecodeError as error:
            is_open = error.msg.startswith("Unterminated string") or error.pos >= len(window.text) - _BORDER
            if window.is_last or not is_open:
                raise _MalformedError(error.msg, error.pos) from error
        else:
            if window.is_last or window.text[end : end + 1] in _BEHIND_VALUE:
                return end
        window.grow()
