# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Alpaca rows: instruction, input and output, with optional history of earlier turns, system prompt and ranking."""

from typing import Any

from tunesmith.core.types import Example, Message
from tunesmith.data.formats.base import Columns, Row, RowError, as_text, describe, formats
from tunesmith.data.formats.dialogue import chat_example, preference_example, read_compared
from tunesmith.data.formats.values import parse_json

_KEYS = ("prompt", "query", "response", "history")
_PAIR_KEYS = (*_KEYS, "chosen", "rejected")


@formats.register("alpaca")
def read_alpaca(row: Row, columns: Columns) -> Example:
    """Read one alpaca row; without a response column it is a prompt, with a list of responses a ranking."""
    messages = read_history(columns.optional(row, "history"))
    prompt = as_text(columns.required(row, "prompt"), f"column {columns.names['prompt']!r}")
    query = columns.text(row, "query")
    messages.append(Message(role="user", content="\n".join(part for part in (prompt, query) if part)))
    if isinstance(columns.optional(row, "response"), list):
        chosen, *rejected = _read_ranking(row, columns)
        example = chat_example(row, columns, messages, read=_KEYS)
        return preference_example(example, chosen=[chosen], rejected=[[answer] for answer in rejected])
    if columns.ranking:
        turns, others = read_compared(row, columns, _no_message)
        example = chat_example(row, columns, messages, read=_PAIR_KEYS)
        return preference_example(example, chosen=turns, rejected=others)
    if columns.has(row, "response"):
        text = as_text(columns.required(row, "response"), f"column {columns.names['response']!r}")
        messages.append(Message(role="assistant", content=text))
    return chat_example(row, columns, messages, read=_KEYS)


def _read_ranking(row: Row, columns: Columns) -> list[Message]:
    """Read the answers of a reward set, best first."""
    name = columns.names["response"]
    answers = columns.required(row, "response")
    if len(answers) < 2:
        raise RowError(
            "data.answer_missing",
            f"Column {name!r} has a list of {len(answers)} answers; a ranking needs two or more, best first.",
            "Write a single answer as text, or add the others.",
        )
    return [Message(role="assistant", content=as_text(answer, f"column {name!r}")) for answer in answers]


def _no_message(value: Any) -> Message:
    raise RowError(
        "data.type_wrong",
        f"A chosen or rejected answer of an alpaca row must be text, found {describe(value)}.",
        'Write it as text, or name another formatting ("sharegpt" and "openai" have messages).',
    )


def read_history(value: Any) -> list[Message]:
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
