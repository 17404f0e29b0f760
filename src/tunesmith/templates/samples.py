# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Cuts a conversation into samples that each equal what inference would see.

Where a template renders earlier turns otherwise than when they came (it drops their thoughts, it trims them), one text
of the whole conversation holds answers that no model would be asked for. Then every such answer is trained in a sample
that ends with it; turns that look the same in both share a sample.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tunesmith.core.errors import refusal
from tunesmith.core.types import Conversation, Rendered

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


def refuse_dropped_thoughts(rendered: Rendered, conversation: Conversation) -> Rendered:
    """Refuse a sample that does not show the thoughts of an answer which it trains."""
    for index, message in enumerate(conversation.messages):
        thoughts = (message.reasoning or "").strip()
        if message.role == "assistant" and message.weight != 0 and thoughts not in rendered.text:
            raise refusal(
                "template.reasoning_dropped",
                f"reasoning_policy: keep, but the chat template does not render the reasoning of message {index}.",
                "Choose a template that renders reasoning, or leave reasoning_policy out to train what is rendered.",
                key="reasoning_policy",
            )
    return rendered
