# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Examples → a few numbers each, by which rows are grouped, split and judged without their texts.

Hashes are xxh3 of UTF-8: the same in every process and on every machine. 0 means that an example has no such part.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Any

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest

from tunesmith.core.types import Example, Message
from tunesmith.data.masking import (
    MAX_PLACEHOLDER_CHARS,
    has_unfilled,
    is_placeholder,
    is_refusal,
    num_letters,
    skeleton_of,
    substance_of,
)

# prompt: what is asked (user and tool turns, media), without system prompt and answers; the text of a plain text.
# context: everything the last answer depends on: prompt, system prompt, tools, earlier answers.
# answer: the last answer (chosen one; reference answer of a prompt; near and far texts of an anchor).
# rejected: the first rejected answer. label: the label. row: all of it. *_chars: characters.
# skeleton, skeleton_letters: all written answers without names, numbers and quotations.
# opening, rejected_opening: the first characters of the answers. flags: see `Flag`.
TRAITS: Mapping[str, type[np.generic]] = {
    "prompt": np.uint64,
    "context": np.uint64,
    "answer": np.uint64,
    "rejected": np.uint64,
    "label": np.uint64,
    "row": np.uint64,
    "skeleton": np.uint64,
    "opening": np.uint64,
    "rejected_opening": np.uint64,
    "prompt_chars": np.int32,
    "answer_chars": np.int32,
    "rejected_chars": np.int32,
    "skeleton_letters": np.int32,
    "flags": np.uint16,
}

OPENING_CHARS = 24
_PART, _TURN = "\x1f", "\x1e"
# A shorter answer is part of too many others to be called the substance of one.
_SUBSTANCE_CHARS = 20


class Flag(IntFlag):
    """Marks in the trait `flags`."""

    EMPTY = 1  # The answer is white space.
    PLACEHOLDER = 2  # The answer stands for one that was never written.
    UNFILLED = 4  # A slot of the answer was never filled in.
    REFUSAL = 8  # The answer opens by declining.
    REJECTED_REFUSAL = 16
    SAME_SUBSTANCE = 32  # Chosen and rejected answer have the same letters, or one all of the other's.
    SEVERAL_ANSWERS = 64  # A conversation with earlier answers.
    CALLS_TOOL = 128  # The last answer calls a tool.


def compute_traits(examples: Sequence[Example]) -> dict[str, npt.NDArray[Any]]:
    """Give one array a trait of `TRAITS`, with one entry an example."""
    rows = [_traits_of(example) for example in examples]
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(TRAITS)
    return {name: np.array(column, dtype=dtype) for (name, dtype), column in zip(TRAITS.items(), columns, strict=True)}


def label_hash(label: bool | str | float) -> int:
    """Give the trait `label` of a label."""
    return _hash(repr(label))


@dataclass(frozen=True, slots=True)
class _Texts:
    """The parts of one example as strings; `written` are its answers but calls of tools."""

    prompt: str
    context: str
    answer: str = ""
    rejected: str = ""
    written: str = ""
    flags: int = 0


def _traits_of(example: Example) -> tuple[int, ...]:
    texts = _texts_of(example)
    answer, is_pair = texts.answer, example.kind == "preference"
    skeleton = skeleton_of(texts.written)
    label = 0 if example.label is None else label_hash(example.label)
    context, answer_hash, rejected_hash = _hash(texts.context), _hash(answer), _hash(texts.rejected)
    return (
        _hash(texts.prompt),
        context,
        answer_hash,
        rejected_hash,
        label,
        xxh3_64_intdigest(b"%d %d %d %d" % (context, answer_hash, rejected_hash, label)),
        _hash(skeleton),
        _hash(answer[:OPENING_CHARS].casefold()) if is_pair else 0,
        _hash(texts.rejected[:OPENING_CHARS].casefold()) if is_pair else 0,
        len(texts.prompt),
        len(answer),
        len(texts.rejected),
        num_letters(skeleton),
        texts.flags | _flags_of(example, texts),
    )


def _flags_of(example: Example, texts: _Texts) -> int:
    """Judge the answer; a reference answer and texts to compare with are no answers of the model."""
    if example.kind not in ("supervised", "preference", "feedback") or texts.flags & Flag.CALLS_TOOL:
        return 0
    answer, rejected, is_pair = texts.answer, texts.rejected, example.kind == "preference"
    found = (
        (Flag.EMPTY, not answer),
        (Flag.PLACEHOLDER, len(answer) <= MAX_PLACEHOLDER_CHARS and is_placeholder(answer)),
        (Flag.UNFILLED, has_unfilled(answer)),
        (Flag.REFUSAL, is_refusal(answer)),
        (Flag.REJECTED_REFUSAL, is_pair and is_refusal(rejected)),
        (Flag.SAME_SUBSTANCE, is_pair and _is_same_substance(answer, rejected)),
    )
    return sum(flag.value for flag, is_true in found if is_true)


def _is_same_substance(chosen: str, rejected: str) -> bool:
    first, second = substance_of(chosen), substance_of(rejected)
    if first == second:
        return bool(first) or chosen == rejected
    shorter, longer = sorted((first, second), key=len)
    return len(shorter) >= _SUBSTANCE_CHARS and shorter in longer


def _texts_of(example: Example) -> _Texts:
    if example.conversation is None:
        text = example.text or ""
        return _Texts(prompt=text, context=text, answer=_compared(example))
    messages = example.conversation.messages
    is_answered = example.kind in ("supervised", "feedback") and bool(messages) and messages[-1].role == "assistant"
    before = messages[:-1] if is_answered else messages
    asked = [_content(message) for message in before if message.role in ("user", "tool")]
    asked.extend(_as_json(one) for one in example.media)
    prompt = _TURN.join(asked)
    answer_turns = messages[-1:] if is_answered else example.chosen
    earlier = [message for message in before if message.role == "assistant"]
    return _Texts(
        prompt=prompt,
        context=_context(before, example, prompt),
        answer=_joined(answer_turns) if answer_turns else _compared(example),
        rejected=_joined(example.rejected[0]) if example.rejected else "",
        written=_written([*earlier, *answer_turns] if earlier else answer_turns),
        flags=(Flag.SEVERAL_ANSWERS if earlier else 0)
        | (Flag.CALLS_TOOL if answer_turns and answer_turns[-1].tool_calls else 0),
    )


def _context(before: Sequence[Message], example: Example, prompt: str) -> str:
    """Write the prompt with system prompt, tools and earlier answers; a lone user turn is its own context."""
    tools = example.conversation.tools if example.conversation is not None else ()
    if len(before) == 1 and before[0].role == "user" and not tools:
        return prompt
    turns = [f"{message.role}{_PART}{_content(message)}" for message in before if message.content or message.tool_calls]
    return _TURN.join([*turns, *map(_as_json, tools), *map(_as_json, example.media)])


def _compared(example: Example) -> str:
    """Write what a completion or an anchor is compared with."""
    if example.reference_answer is not None:
        return example.reference_answer.strip()
    return _TURN.join([_joined(turns) for turns in (*example.positives, *example.negatives)])


def _joined(messages: Sequence[Message]) -> str:
    return (_content(messages[0]) if len(messages) == 1 else _TURN.join(map(_content, messages))).strip()


def _written(messages: Sequence[Message]) -> str:
    if len(messages) == 1:
        return "" if messages[0].tool_calls else messages[0].content
    return _TURN.join([message.content for message in messages if not message.tool_calls])


def _content(message: Message) -> str:
    if not message.tool_calls and not message.reasoning:
        return message.content
    calls = [f"{call.name}{_PART}{_as_json(call.arguments)}" for call in message.tool_calls]
    return _PART.join([message.reasoning or "", message.content, *calls])


def _as_json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _hash(text: str) -> int:
    """Hash a text; the empty one is 0."""
    return xxh3_64_intdigest(text.encode("utf-8", "surrogatepass")) if text else 0
