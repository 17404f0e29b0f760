# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rows for embeddings and rerankers: an anchor with near texts, far texts, or a similarity."""

import re
from collections.abc import Sequence
from dataclasses import replace

from tunesmith.core.types import Conversation, Example, Message
from tunesmith.data.formats.base import MEDIA_KEYS, Columns, Row, RowError, as_text, formats
from tunesmith.data.formats.media import Medium, media_of
from tunesmith.data.formats.values import read_number, read_texts

_KEYS = ("anchor", "positive", "negative", "similarity")
_NUMBERED = re.compile(r"_?\d+")


@formats.register("contrast")
def read_contrast(row: Row, columns: Columns) -> Example:
    """Read one row: anchor, positive (one text or several), negative (none, one or several), similarity (or none).

    Columns called like `negative` with a number (negative_1, negative_2, …) count as well. Texts become user turns.
    """
    anchor = as_text(columns.required(row, "anchor"), f"column {columns.names['anchor']!r}")
    near = read_texts(columns.required(row, "positive"), f"column {columns.names['positive']!r}")
    numbered = _numbered_negatives(row, columns)
    far = [text for name in numbered for text in read_texts(row.values[name], f"column {name!r}")]
    messages = [Message(role="user", content=anchor)]
    example = contrast_example(row, columns, messages, sides=(_as_turns(near), _as_turns(far)), read=_KEYS)
    return example if not numbered else _without(example, numbered)


def contrast_example(
    row: Row,
    columns: Columns,
    anchor: Sequence[Message],
    *,
    sides: tuple[Sequence[Sequence[Message]], Sequence[Sequence[Message]]],
    read: Sequence[str],
    inline: Sequence[Medium] = (),
) -> Example:
    """Build the example of an anchor and, as `sides`, what is near to it and what is far from it."""
    positives, negatives = sides
    similarity = columns.optional(row, "similarity")
    if not positives:
        raise RowError("data.value_missing", "The row has no text that is near to its anchor.", "Add one.")
    return Example(
        kind="contrast",
        source=row.source,
        conversation=Conversation(messages=tuple(anchor)),
        positives=tuple(tuple(turns) for turns in positives),
        negatives=tuple(tuple(turns) for turns in negatives),
        label=None if similarity is None else read_number(similarity, f"column {columns.names['similarity']!r}"),
        media=media_of(row, columns, anchor, inline),
        fields=columns.further(row, (*read, "similarity", *MEDIA_KEYS)),
    )


def _as_turns(texts: Sequence[str]) -> list[list[Message]]:
    return [[Message(role="user", content=text)] for text in texts]


def _numbered_negatives(row: Row, columns: Columns) -> list[str]:
    """Name the columns of far texts, those with numbers in order of their numbers."""
    name = columns.names["negative"]
    if name is None:
        return []
    found = [column for column in row.values if column.startswith(name) and _NUMBERED.fullmatch(column[len(name) :])]
    found.sort(key=lambda column: int(column[len(name) :].removeprefix("_")))
    return [column for column in (name, *found) if row.values.get(column) not in (None, "")]


def _without(example: Example, names: Sequence[str]) -> Example:
    return replace(example, fields={name: value for name, value in example.fields.items() if name not in names})
