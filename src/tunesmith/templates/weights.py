# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The loss weight of every token of a rendered conversation: of whole turns, and of parts of their answers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tunesmith.core.types import FloatArray, Message
from tunesmith.templates.base import TrainPolicy
from tunesmith.templates.encoder import Encoded
from tunesmith.templates.loss_scale import Factor, read_loss_scale
from tunesmith.templates.reasoning import last_question, untrained_ranges

_WHOLE = (0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A rendered assistant turn: its message and its span of characters; the stop token is between the two ends."""

    message: int
    start: int
    body_end: int
    end: int


def trains_all(policy: TrainPolicy) -> bool:
    """Say whether prompts are trained like answers."""
    return policy.train_on_prompt or (
        policy.loss_scale is not None and read_loss_scale(policy.loss_scale).base == "all"
    )


def turn_weights(messages: Sequence[Message], answers: Sequence[int], policy: TrainPolicy) -> list[float]:
    """Give the weight of each assistant turn: its own, else the policy's."""
    base = read_loss_scale(policy.loss_scale).base if policy.loss_scale else "default"
    question = last_question(messages)
    weights = []
    for number, index in enumerate(answers):
        own = messages[index].weight
        is_history = policy.mask_history and number < len(answers) - 1
        is_earlier = base == "last_round" and index < question
        weights.append(own if own is not None else 0.0 if is_history or is_earlier else 1.0)
    return weights


def token_weights(
    messages: Sequence[Message], answers: Sequence[Answer], encoded: Encoded, text: str, policy: TrainPolicy
) -> FloatArray:
    """Weigh all tokens of a rendering."""
    weights = np.full(len(encoded.ids), 1.0 if trains_all(policy) else 0.0, dtype=np.float32)
    of_turns = turn_weights(messages, [answer.message for answer in answers], policy)
    for answer, weight in zip(answers, of_turns, strict=True):
        weights[encoded.index_at(answer.start) : encoded.index_at(answer.end)] = weight
        for start, end, factor in _factors(messages, answer, text, policy):
            weights[encoded.index_at(answer.start + start) : encoded.index_at(answer.start + end)] *= factor
    return weights


def needs_parts(policy: TrainPolicy) -> bool:
    """Say whether a policy weighs parts of answers."""
    by_rules = policy.loss_scale is not None and bool(read_loss_scale(policy.loss_scale).rules)
    return by_rules or policy.without_reasoning or policy.reasoning in ("mask_empty", "never_train_injected")


def _factors(messages: Sequence[Message], answer: Answer, text: str, policy: TrainPolicy) -> list[Factor]:
    """Weigh parts of one answer; a weight of its own other than 0 and 1 stands above the rules."""
    if not needs_parts(policy):
        return []
    message = messages[answer.message]
    part = text[answer.start : answer.body_end]
    factors = [(start, end, 0.0) for start, end in untrained_ranges(part, message, policy)]
    if policy.loss_scale and (message.weight is None or message.weight in _WHOLE):
        asked = [earlier.content for earlier in messages[: answer.message] if earlier.role == "user"]
        factors += read_loss_scale(policy.loss_scale).factors(part, asked[-1] if asked else "")
    return factors
