# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Plain text files: every line that is not blank is a row with the one column `text`."""

from collections.abc import Iterator
from pathlib import Path

from tunesmith.data.sources.base import Fault, Record, decode, readers


@readers.register("txt")
def read_text_lines(path: Path) -> Iterator[Record | Fault]:
    """Read a text file line by line."""
    row = 0
    with path.open("rb") as stream:
        for line, raw in enumerate(stream, start=1):
            if not raw.strip():
                continue
            text = decode(raw.rstrip(b"\r\n"), row=row, line=line)
            yield text if isinstance(text, Fault) else Record(row=row, values={"text": text})
            row += 1
