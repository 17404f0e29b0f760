# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Alpaca rows: instruction, input and output, with optional history of earlier turns, system prompt and ranking."""

from typing import Any

from tunesmith.core.types import Example, Message
from tunesmith.data.formats.base import Columns, Row, RowError, as_text, describe, formats
from tunesmith.data.formats.dialogue import chat_example, parse_json, preference_example


@formats.register("alpaca")
def read_alpaca(row: Row, columns: Columns) -> Example:
    """Read one alpaca row; without a response column it is a prompt."""
    messages = _read_history(columns.optional(row, "history"))
    prompt = as_text(columns.required(row, "prompt"), f"column {columns.names['prompt']!r}")
    query = columns.text(row, "query")
    messages.append(Message(role="user", content="\n".join(part for part in (prompt, query) if part)))
    if columns.ranking:
        answers = {key: _answer(row, columns, key) for key in ("chosen", "rejected")}
        return preference_example(row, columns, messages, **answers)
    if columns.has(row, "response"):
        messages.append(_answer(row, columns, "response"))
    return chat_example(row, columns, messages)


def _answer(row: Row, columns: Columns, key: str) -> Message:
    text = as_text(columns.required(row, key), f"column {columns.names[key]!r}")
    return Message(role="assistant", content=text)


def _read_history(value: Any) -> list[Message]:
    """Read [[question, answer], …], or its JSON text, as turns before the instruction."""
    if isinstance(value, str):
        value = parse_json(value, "the history", "data.type_wrong")
    if value is None:
        return []
    if not isinstance(value, list):
        raise RowError(
            "data.type_wrong",
            f"The history must be a list of [question, answer] pairs, found {describe(value)}.",
            "Write it as [[question, answer], …].",
        )
    messages: list[Message] = []
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2:
            raise RowError(
                "data.type_wrong",
                "An element of the history is no [question, answer] pair.",
                "Write the history as [[question, answer], …].",
            )
        messages.append(Message(role="user", content=as_text(pair[0], "the history")))
        messages.append(Message(role="assistant", content=as_text(pair[1], "the history")))
    return messages
