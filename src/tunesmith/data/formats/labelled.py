# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Labelled rows: a text and its class, read as such for stages that train a classifier."""

from tunesmith.core.types import Conversation, Example, Message
from tunesmith.data.formats.base import Columns, Row, as_text, formats
from tunesmith.data.formats.dialogue import read_label
from tunesmith.data.formats.media import media_of

_KEYS = ("text", "label", "system")


@formats.register("labelled")
def read_labelled(row: Row, columns: Columns) -> Example:
    """Read a text with its label; the text is a user turn."""
    text = as_text(columns.required(row, "text"), f"column {columns.names['text']!r}")
    label = read_label(columns.required(row, "label"), f"column {columns.names['label']!r}")
    messages = [Message(role="user", content=text)]
    if system := columns.text(row, "system"):
        messages.insert(0, Message(role="system", content=system))
    return Example(
        kind="labelled",
        source=row.source,
        conversation=Conversation(messages=tuple(messages)),
        label=label,
        media=media_of(row, columns, messages),
        fields=columns.further(row, _KEYS),
    )
