# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What becomes of thoughts in training: which are rendered, and which rendered ones are not trained.

keep: all are rendered and trained, in several samples where the template drops those of earlier turns (samples.py).
Those that it drops of every turn are written behind the prompt, as the model writes them.
strip_history: those before the last question are removed. mask_empty: empty blocks are rendered and not trained.
never_train_injected: a block that the template or the prompt puts before an answer without thoughts is not trained.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from tunesmith.core.types import Conversation, Message
from tunesmith.templates.base import TrainPolicy

MARKS = (
    ("<think>", "</think>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|channel>thought", "<channel|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
)
_PAIRS = [(re.escape(opening), re.escape(closing)) for opening, closing in MARKS]
_EMPTY = re.compile("|".join(rf"{opening}\s*{closing}\s*" for opening, closing in _PAIRS))
# The prompt may have opened the block already; newer models close it without having opened it.
_INJECTED = re.compile("|".join(rf"\A\s*(?:{opening})?\s*{closing}\s*" for opening, closing in _PAIRS))
_BLOCK = re.compile("|".join(rf"\A\s*(?:{opening})?(.*?){closing}\s*" for opening, closing in _PAIRS), re.DOTALL)


def has_reasoning(message: Message) -> bool:
    """Say whether a message brings thoughts, in their own field or written into its content."""
    if message.reasoning and message.reasoning.strip():
        return True
    block = _BLOCK.match(message.content)
    return block is not None and _INJECTED.match(message.content) is None


def thoughts_of(message: Message) -> str:
    """Give the thoughts of a message, in their own field or written into its content."""
    block = _BLOCK.match(message.content)
    inline = next((group for group in block.groups() if group), "") if block is not None else ""
    return (message.reasoning or inline).strip()


def as_generated(prompt: str, thoughts: str, answer: str, source: str) -> str | None:
    """Write behind a prompt what its model writes, for a template (`source`) that takes thoughts off its answers.

    None where the template knows no marks of thoughts, or where its prompt closes them already. Line feeds stand as the
    prompt has them, or as most models do.
    """
    body = _INJECTED.sub("", answer).lstrip("\n")
    asked = prompt.rstrip()
    if any(asked.endswith(closing) for _, closing in MARKS):
        return None
    for opening, closing in MARKS:
        if asked.endswith(opening):
            feed = "\n" if asked != prompt else ""
            return f"{prompt}{thoughts}{feed}{closing}{feed * 2}{body}"
    found = next(((opening, closing) for opening, closing in MARKS if closing in source), None)
    return f"{prompt}{found[0]}\n{thoughts}\n{found[1]}\n\n{body}" if found is not None else None


def apply_reasoning(conversation: Conversation, policy: TrainPolicy) -> Conversation:
    """Remove the thoughts that are not to be rendered."""
    if policy.without_reasoning:
        return _stripped(conversation, len(conversation.messages))
    if policy.reasoning == "strip_history":
        return _stripped(conversation, last_question(conversation.messages))
    return conversation


def untrained_ranges(answer: str, message: Message, policy: TrainPolicy) -> list[tuple[int, int]]:
    """List the parts of a rendered answer that are not trained."""
    if policy.reasoning == "mask_empty":
        opened = _INJECTED.match(answer)
        return [*([opened.span()] if opened else []), *(match.span() for match in _EMPTY.finditer(answer))]
    if (policy.reasoning == "never_train_injected" or policy.without_reasoning) and not has_reasoning(message):
        injected = _INJECTED.match(answer)
        is_own = _INJECTED.match(message.content) is not None and not policy.without_reasoning
        return [injected.span()] if injected and not is_own else []
    return []


def last_question(messages: Sequence[Message]) -> int:
    """Give the position of the last user message, or 0."""
    return max((index for index, message in enumerate(messages) if message.role == "user"), default=0)


def _stripped(conversation: Conversation, end: int) -> Conversation:
    messages = [
        _without(message) if index < end and message.role == "assistant" else message
        for index, message in enumerate(conversation.messages)
    ]
    return replace(conversation, messages=tuple(messages))


def _without(message: Message) -> Message:
    return replace(message, reasoning=None, content=_BLOCK.sub("", message.content))
