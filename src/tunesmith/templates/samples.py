# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Cuts a conversation into samples that each equal what inference would see.

Where a template renders earlier turns otherwise than when they came (it drops their thoughts, it trims them), one text
of the whole conversation holds answers that no model would be asked for. Then every such answer is trained in a sample
that ends with it; turns that look the same in both share a sample.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tunesmith.core.errors import TunesmithError, refusal
from tunesmith.core.types import Conversation, Rendered
from tunesmith.templates.reasoning import thoughts_of

# Renders the messages up to an answer, that answer included: the text, and where the answer ends in it.
RenderUpTo = Callable[[int], tuple[str, int]]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The messages before `end`; of the answers in it only `answers` are trained here."""

    end: int
    answers: tuple[int, ...]


def plan_samples(answers: Sequence[int], num_messages: int, render: RenderUpTo) -> list[Sample]:
    """Group answers (positions of messages) into samples, in order.

    An answer shares the sample of a later one when the text up to its end is the beginning of the later text.
    """
    rendered = {index: render(index) for index in answers}
    samples: list[Sample] = []
    remaining = list(answers)
    while remaining:
        last = remaining.pop()
        text = rendered[last][0]
        shared = [index for index in remaining if _is_seen_alike(rendered[index], text)]
        remaining = [index for index in remaining if index not in shared]
        end = num_messages if not samples else last + 1
        samples.append(Sample(end=end, answers=(*shared, last)))
    return samples[::-1]


def _is_seen_alike(earlier: tuple[str, int], later: str) -> bool:
    text, end = earlier
    return later.startswith(text[:end])


def to_conversation(
    conversation: Conversation, sample: Sample, offset: int, weights: Mapping[int, float]
) -> Conversation:
    """Cut a conversation after a sample's last answer and train only the sample's answers."""
    messages = [
        replace(message, weight=weights[index] if index in sample.answers else 0.0)
        if message.role == "assistant"
        else message
        for index, message in enumerate(conversation.messages[: sample.end - offset], start=offset)
    ]
    return replace(conversation, messages=tuple(messages))


def dropped_thoughts(rendered: Rendered, conversation: Conversation) -> list[int]:
    """List the trained answers of a sample whose thoughts it does not show."""
    return [
        index
        for index, message in enumerate(conversation.messages)
        if message.role == "assistant" and message.weight != 0 and thoughts_of(message) not in rendered.text
    ]


def apart(conversation: Conversation, dropped: Sequence[int]) -> list[tuple[Conversation, bool]]:
    """Give each answer of `dropped` a sample that ends with it, and one to the other trained answers, in order.

    The second value marks samples whose last answer is to be written as the model does.
    """
    end = len(conversation.messages)
    others = [
        index
        for index, message in enumerate(conversation.messages)
        if message.role == "assistant" and message.weight != 0 and index not in dropped
    ]
    samples = [(index, _training_only(conversation, index + 1, [index]), True) for index in dropped]
    if others:
        samples.append((others[-1], _training_only(conversation, end, others), False))
    return [(sample, is_written) for _, sample, is_written in sorted(samples, key=lambda item: item[0])]


def _training_only(conversation: Conversation, end: int, answers: Sequence[int]) -> Conversation:
    messages = [
        replace(message, weight=0.0) if message.role == "assistant" and index not in answers else message
        for index, message in enumerate(conversation.messages[:end])
    ]
    return replace(conversation, messages=tuple(messages))


def thoughts_dropped(index: int) -> TunesmithError:
    """Refuse a template that neither renders the thoughts of an answer nor knows how its model writes them."""
    return refusal(
        "template.reasoning_dropped",
        f"reasoning_policy: keep, but the chat template does not render the reasoning of message {index}.",
        "Choose a template that renders reasoning, set enable_thinking: true if its prompts close thoughts, or leave "
        "reasoning_policy out to train what is rendered.",
        key="reasoning_policy",
    )
