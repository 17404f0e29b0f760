# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Files in which every line that is not blank is a record: cut at line ends, hashed on the way, read line by line."""

import hashlib
import io
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path

from tunesmith.data.sources.base import SPAN_BYTES, Fault, Position, Reader, Record, Span, read_bytes

BOM = b"\xef\xbb\xbf"


class LineReader(Reader):
    """Reads lines; what a line means is up to `parse`."""

    def cut(self, path: Path, start: Position, *, max_rows: int) -> Iterator[Span | Fault]:
        """Cut a file at line ends."""
        with path.open("rb") as stream:
            stream.seek(start.offset)
            digest, size, lines, rows = hashlib.sha256(), 0, 0, 0
            for raw in stream:
                digest.update(raw)
                size += len(raw)
                lines += 1
                rows += not is_blank(raw)
                if rows >= max_rows or (size >= SPAN_BYTES and rows):
                    end = Position(offset=start.offset + size, row=start.row + rows, line=start.line + lines)
                    yield Span(start=start, end=end, digest=digest.hexdigest())
                    start, digest, size, lines, rows = end, hashlib.sha256(), 0, 0, 0
            if rows:
                end = Position(offset=start.offset + size, row=start.row + rows, line=start.line + lines)
                yield Span(start=start, end=end, digest=digest.hexdigest())

    def read(self, path: Path, span: Span) -> Iterator[Record | Fault]:
        """Read the lines of a span."""
        row = span.start.row
        for line, raw in enumerate(io.BytesIO(read_bytes(path, span)), start=span.start.line):
            if not is_blank(raw):
                yield self.parse(raw, row, line)
                row += 1

    @abstractmethod
    def parse(self, raw: bytes, row: int, line: int) -> Record | Fault:
        """Make a record of a line, or say why that cannot be."""


def is_blank(raw: bytes) -> bool:
    """Say whether a line holds nothing but white space, behind a byte order mark if there is one."""
    return raw.isspace() or (raw.startswith(BOM) and not raw.removeprefix(BOM).strip())
