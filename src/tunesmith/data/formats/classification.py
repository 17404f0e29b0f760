# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Labelled rows as prompts: the text is asked about, its label is the answer; candidates are named where a row has any.

The wordings stand in conversions.yaml; stages that train a classifier read the same rows as `labelled`.
"""

from functools import partial
from typing import Any

from tunesmith.core.types import Example, Message
from tunesmith.data.formats.base import Columns, Row, RowError, as_text, formats
from tunesmith.data.formats.conversions import asked, wording
from tunesmith.data.formats.dialogue import chat_example, read_label
from tunesmith.data.formats.values import read_texts

_KEYS = ("text", "label", "candidates")


def _read(row: Row, columns: Columns, *, name: str) -> Example:
    words = wording(name)
    text = as_text(columns.required(row, "text"), f"column {columns.names['text']!r}")
    label = _as_answer(read_label(columns.required(row, "label"), f"column {columns.names['label']!r}"))
    candidates = _candidates(columns.optional(row, "candidates"), f"column {columns.names['candidates']!r}")
    kind = "" if candidates is None else "_of_choice"
    if candidates is not None and label not in candidates:
        raise RowError(
            "data.label_unknown",
            f"The label {label!r} is none of the candidates that the row names: {candidates}.",
            "Correct the label, or the candidates.",
        )
    question = words[f"user{kind}"].replace("{candidates}", candidates or "").replace("{text}", text)
    messages = [*asked(row, columns, words[f"system{kind}"], question), Message(role="assistant", content=label)]
    return chat_example(row, _without_label(columns), messages, read=_KEYS)


def _as_answer(label: bool | str | float) -> str:
    return str(label).lower() if isinstance(label, bool) else str(label)


def _candidates(value: Any, what: str) -> str | None:
    return None if value is None or value == [] else ", ".join(read_texts(value, what))


def _without_label(columns: Columns) -> Columns:
    """Keep the label from being read a second time as that of a labelled row."""
    return Columns(names={**columns.names, "label": None}, tags=columns.tags)


for _name in ("classification", "classification_zh"):
    formats.register(_name)(partial(_read, name=_name))
