# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Plain text rows for pre-training: one column of text."""

from tunesmith.core.types import Example
from tunesmith.data.formats.base import Columns, Row, as_text, formats
from tunesmith.data.formats.media import column_media


@formats.register("text")
def read_text(row: Row, columns: Columns) -> Example:
    """Read one row of text."""
    text = as_text(columns.required(row, "text"), "the text column")
    return Example(kind="text", source=row.source, text=text, media=tuple(column_media(row, columns)))
