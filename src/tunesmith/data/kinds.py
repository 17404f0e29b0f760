# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of the kind that the training stage needs: taken as they are, converted where that loses nothing, or refused."""

from dataclasses import replace

from tunesmith.core.types import Example, RowKind
from tunesmith.data.formats.base import Row, RowError, missing_column
from tunesmith.data.recognition import Reading

_NAMES: dict[RowKind, str] = {
    "text": "plain text",
    "supervised": "a prompt with its answer",
    "preference": "a prompt with a chosen and a rejected answer",
    "feedback": "an answer with a true or false label",
    "prompt": "a prompt without an answer",
    "labelled": "a text with a label",
    "contrast": "an anchor with near and far texts",
}


def to_kind(example: Example, kind: RowKind, row: Row, reading: Reading) -> Example:
    """Give the example in the kind asked for; a lone prompt serves as plain text."""
    if example.kind == kind:
        return example
    if kind == "text" and example.kind == "prompt":
        return _as_text(example)
    if kind == "supervised" and example.kind == "prompt":
        raise _no_answer(row, reading)
    raise _wrong_kind(example, kind)


def _as_text(example: Example) -> Example:
    """Take the one user turn of a prompt as text: LLaMA-Factory's way to describe texts is `"prompt": "text"`."""
    messages = example.conversation.messages if example.conversation else ()
    if len(messages) != 1:
        raise _wrong_kind(example, "text")
    return replace(example, kind="text", text=messages[0].content, conversation=None)


def _no_answer(row: Row, reading: Reading) -> RowError:
    if reading.format == "alpaca":
        return missing_column(row, reading.columns.names["response"] or "response", "response")
    return RowError(
        "data.answer_missing",
        "The conversation ends without an answer, so there is nothing to train on.",
        "End it with an assistant turn, or remove the row.",
    )


def _wrong_kind(example: Example, kind: RowKind) -> RowError:
    return RowError(
        "data.kind_wrong",
        f"The row is {_NAMES[example.kind]}; this stage trains on {_NAMES[kind]}.",
        "Choose the stage that fits the data, or describe its columns otherwise in dataset_info.json"
        + (' (for texts: "formatting": "text").' if kind == "text" else "."),
    )
