# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Questions with the solutions of models and whether they are right: feedback rows.

A solution is a column of text with a column `is_correct` (the key kto_tag), or one object {solution, is_correct}.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tunesmith.core.types import Example, Message
from tunesmith.data.formats.base import Columns, Row, RowError, as_text, describe, formats
from tunesmith.data.formats.dialogue import chat_example
from tunesmith.data.formats.values import read_truth

_KEYS = ("prompt", "query", "response")


@formats.register("solutions")
def read_solutions(row: Row, columns: Columns) -> Example:
    """Read the solution that the response column holds."""
    prompt = as_text(columns.required(row, "prompt"), f"column {columns.names['prompt']!r}")
    name = columns.names["response"]
    value = columns.required(row, "response")
    if not isinstance(value, (str, Mapping)):
        raise RowError(
            "data.type_wrong",
            f"A solution must be text or an object {{solution, is_correct}}, found {describe(value)} in {name!r}.",
            "Name the column that holds the solution as `response` in dataset_info.json.",
        )
    is_nested = isinstance(value, Mapping)
    text = as_text(value.get("solution") if isinstance(value, Mapping) else value, f"the solution in {name!r}")
    label = value.get("is_correct") if isinstance(value, Mapping) else columns.required(row, "kto_tag")
    messages = [Message(role="user", content=prompt), Message(role="assistant", content=text)]
    return _with_label(row, columns, messages, label, f"is_correct of {name!r}" if is_nested else "is_correct")


def _with_label(row: Row, columns: Columns, messages: list[Message], label: Any, what: str) -> Example:
    unlabelled = Columns(names={**columns.names, "kto_tag": None}, tags=columns.tags)
    example = chat_example(row, unlabelled, messages, read=_KEYS)
    return replace(example, kind="feedback", label=read_truth(label, what))
