# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Plain text files: every line that is not blank is a row with the one column `text`."""

from tunesmith.data.sources.base import Fault, Record, decode, readers
from tunesmith.data.sources.lines import LineReader


class TextLines(LineReader):
    """Reads text files line by line."""

    def parse(self, raw: bytes, row: int, line: int) -> Record | Fault:
        """Take a line as text."""
        text = decode(raw.rstrip(b"\r\n"), row=row, line=line)
        return text if isinstance(text, Fault) else Record(row=row, values={"text": text})


readers.register("txt")(TextLines())
