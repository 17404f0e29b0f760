# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of the kind that the training stage needs: taken as they are, converted where that loses nothing, or refused."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from tunesmith.core.types import Conversation, Example, Message, RowKind
from tunesmith.data.formats.base import Row, RowError, missing_column
from tunesmith.data.recognition import Reading
from tunesmith.data.stages import stages_of_kind

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
    """Give the example in the kind asked for, or refuse it; media are refused, since no stage takes them yet."""
    if example.media:
        raise _media_unsupported(example)
    if example.kind == kind:
        return example
    convert = _CONVERSIONS.get((example.kind, kind))
    if convert is not None:
        return convert(example)
    if kind == "supervised" and example.kind == "prompt":
        raise _no_answer(row, reading)
    raise _wrong_kind(example, kind)


def _as_text(example: Example) -> Example:
    """Take the one user turn of a prompt as text: LLaMA-Factory's way to describe texts is `"prompt": "text"`."""
    messages = example.conversation.messages if example.conversation else ()
    if len(messages) != 1:
        raise _wrong_kind(example, "text")
    return replace(example, kind="text", text=messages[0].content, conversation=None)


def _as_prompt(example: Example) -> Example:
    """Take what was asked as the prompt, and the answer as what a reward may compare with."""
    prompt, answer = _split_answer(example)
    reference = example.reference_answer
    return replace(
        example,
        kind="prompt",
        conversation=prompt,
        reference_answer=answer[-1].content if reference is None else reference,
    )


def _as_contrast(example: Example) -> Example:
    """Take what was asked as the anchor, and the answer as near to it."""
    prompt, answer = _split_answer(example)
    return replace(example, kind="contrast", conversation=prompt, positives=(answer,))


def _split_answer(example: Example) -> tuple[Conversation, tuple[Message, ...]]:
    """Split a conversation into what was asked and the turns after the last user turn."""
    assert example.conversation is not None, "a supervised example has a conversation"
    messages = example.conversation.messages
    last = max(place for place, message in enumerate(messages) if message.role == "user")
    return replace(example.conversation, messages=messages[: last + 1]), messages[last + 1 :]


_CONVERSIONS: Mapping[tuple[RowKind, RowKind], Callable[[Example], Example]] = {
    ("prompt", "text"): _as_text,
    ("supervised", "prompt"): _as_prompt,
    ("supervised", "contrast"): _as_contrast,
}


def _no_answer(row: Row, reading: Reading) -> RowError:
    if reading.format == "alpaca":
        return missing_column(row, reading.columns.names["response"] or "response", "response")
    return RowError(
        "data.answer_missing",
        "The conversation ends without an answer, so there is nothing to train on.",
        "End it with an assistant turn, or remove the row.",
    )


def _media_unsupported(example: Example) -> RowError:
    found = sorted({medium["type"] for medium in example.media})
    return RowError(
        "data.media_unsupported",
        f"The row has {len(example.media)} media ({', '.join(found)}), which cannot be trained on yet.",
        "Use text rows, or set the media columns to null in dataset_info.json to train on the text alone.",
    )


def _fitting_stage(kind: RowKind) -> str:
    stages = stages_of_kind(kind)
    return f"Set stage: {' or '.join(stages)} for such rows" if stages else "Use rows of that kind"


def _wrong_kind(example: Example, kind: RowKind) -> RowError:
    return RowError(
        "data.kind_wrong",
        f"The row is {_NAMES[example.kind]}; this stage trains on {_NAMES[kind]}.",
        f"{_fitting_stage(example.kind)}, or describe the columns otherwise in dataset_info.json"
        + (' (for texts: "formatting": "text").' if kind == "text" else "."),
    )
