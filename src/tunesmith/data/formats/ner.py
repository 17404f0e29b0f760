# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Named entities as prompts: a text and its entities {entity_text, entity_label, entity_names}; one JSON list answers.

The answer lists {entity_text, entity_label} in the order of the row, `[]` where there is none. Wordings and labels are
in conversions.yaml; an entity whose label is not known there is an error of its row.
"""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from tunesmith.core.types import Example, Message
from tunesmith.data.formats.base import Columns, Row, RowError, as_text, formats
from tunesmith.data.formats.conversions import asked, wording
from tunesmith.data.formats.dialogue import chat_example
from tunesmith.data.formats.values import read_object_list

_KEYS = ("text", "entities")


def _read(row: Row, columns: Columns, *, name: str) -> Example:
    words = wording(name)
    text = as_text(columns.required(row, "text"), f"column {columns.names['text']!r}")
    entities = read_object_list(columns.required(row, "entities"), f"column {columns.names['entities']!r}")
    answer = [_to_answer(entity, text, words["labels"]) for entity in entities]
    content = json.dumps(answer, ensure_ascii=False)
    messages = [*asked(row, columns, words["system"], text), Message(role="assistant", content=content)]
    return chat_example(row, columns, messages, read=_KEYS)


def _to_answer(entity: Mapping[str, Any], text: str, labels: Mapping[str, str]) -> dict[str, str]:
    found = as_text(entity.get("entity_text"), "entity_text")
    if not found or found not in text:
        raise RowError(
            "data.entity_absent",
            f"The entity {found!r} does not occur in the text of its row.",
            "Correct the entity, or remove it.",
        )
    return {"entity_text": found, "entity_label": _label_of(entity, found, labels)}


def _label_of(entity: Mapping[str, Any], found: str, labels: Mapping[str, str]) -> str:
    """Find the label by its short name, or by a name among `entity_names`; never by the entity before."""
    label, names = entity.get("entity_label"), entity.get("entity_names")
    if isinstance(label, str) and label in labels:
        return labels[label]
    candidates = [label, *(names if isinstance(names, list) else [])]
    known = next((name for name in candidates if name in labels.values()), None)
    if isinstance(known, str):
        return known
    raise RowError(
        "data.label_unknown",
        f"The entity {found!r} has the label {label!r}; known: "
        f"{', '.join(f'{short} ({name})' for short, name in labels.items())}.",
        "Correct the label, or write the rows as prompts with the answers you want.",
    )


for _name in ("ner", "ner_zh"):
    formats.register(_name)(partial(_read, name=_name))
