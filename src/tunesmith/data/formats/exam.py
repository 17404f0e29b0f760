# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Multiple-choice questions: a question, choices in columns A, B, C, …, and the letter of the right one, if known.

The prompt is the question with one `A. choice` a line; the answer is the letter. Without an answer column the row is a
prompt.
"""

from dataclasses import replace
from string import ascii_uppercase

from tunesmith.core.types import Example, Message
from tunesmith.data.formats.base import Columns, Row, RowError, as_text, formats, missing_column
from tunesmith.data.formats.dialogue import chat_example

_KEYS = ("prompt", "response")


@formats.register("exam")
def read_exam(row: Row, columns: Columns) -> Example:
    """Read one question."""
    question = as_text(columns.required(row, "prompt"), f"column {columns.names['prompt']!r}")
    choices = _choices(row)
    lines = [question, *(f"{letter}. {text}" for letter, text in choices.items())]
    messages = [Message(role="user", content="\n".join(lines))]
    if columns.has(row, "response"):
        messages.append(Message(role="assistant", content=_answer(row, columns, choices)))
    example = chat_example(row, columns, messages, read=_KEYS)
    return replace(example, fields={name: value for name, value in example.fields.items() if name not in choices})


def _choices(row: Row) -> dict[str, str]:
    """Read the columns A, B, C, … as far as they go without a gap."""
    choices: dict[str, str] = {}
    for letter in ascii_uppercase:
        if letter not in row.values:
            break
        value = row.values[letter]
        if value is None:
            break
        choices[letter] = str(value) if isinstance(value, (int, float)) else as_text(value, f"column {letter!r}")
    if len(choices) < 2:
        raise missing_column(row, "AB"[len(choices)], "prompt")
    return choices


def _answer(row: Row, columns: Columns, choices: dict[str, str]) -> str:
    answer = as_text(columns.required(row, "response"), f"column {columns.names['response']!r}").strip()
    if answer not in choices:
        raise RowError(
            "data.label_unknown",
            f"The answer {answer!r} is none of the choices {', '.join(choices)}.",
            "Write the letter of the right choice.",
        )
    return answer
