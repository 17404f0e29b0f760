# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Cutting the prompt of a conversation that is too long, so that every trained token stays.

First the earliest turns are left out, as long as none of them is trained. Then user and tool messages longer than a
common number of tokens lose their middle, since a task stands at either end of a long message. System prompt, tools
and answers stay whole; the result is rendered anew, so the template's own tokens are never cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from transformers import PreTrainedTokenizerBase

from tunesmith.core.types import Conversation, Message, Rendered
from tunesmith.templates.base import ChatTemplate, TrainPolicy

# What stands where the middle of a message was.
GAP = " … "
# A prompt message keeps at least so many tokens, or the row is given up: an answer to nothing teaches nothing.
MIN_MESSAGE_TOKENS = 8
_MAX_ROUNDS = 8


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A shorter rendering and how it was made, or None and why there is none; `reason` is a name of the ledger's."""

    rendered: Rendered | None
    reason: str


class PromptCutter:
    """Cuts prompts for one template, tokenizer and length limit."""

    def __init__(
        self, template: ChatTemplate, tokenizer: PreTrainedTokenizerBase, *, policy: TrainPolicy, limit: int
    ) -> None:
        self._template = template
        self._tokenizer = tokenizer
        self._policy = policy
        self._limit = limit

    def cut(self, conversation: Conversation, rendered: Rendered) -> Cut:
        """Shorten a rendering of `conversation` that is longer than the limit."""
        num_trained = _num_trained(rendered)
        if num_trained >= self._limit:
            return Cut(rendered=None, reason="answer_too_long")
        conversation, rendered = self._leave_out_turns(conversation, rendered, num_trained)
        if len(rendered.input_ids) <= self._limit:
            return Cut(rendered=rendered, reason="turns_cut")
        shortened = self._shorten_messages(conversation, rendered, num_trained)
        return Cut(rendered=shortened, reason="prompt_too_long" if shortened is None else "prompt_cut")

    def _leave_out_turns(
        self, conversation: Conversation, rendered: Rendered, num_trained: int
    ) -> tuple[Conversation, Rendered]:
        """Leave out the earliest turns up to a user turn, again and again, while no trained token goes with them."""
        while len(rendered.input_ids) > self._limit:
            fewer = _without_first_exchange(conversation)
            if fewer is None:
                break
            shorter = self._render(fewer)
            if _num_trained(shorter) != num_trained:
                break
            conversation, rendered = fewer, shorter
        return conversation, rendered

    def _shorten_messages(self, conversation: Conversation, rendered: Rendered, num_trained: int) -> Rendered | None:
        """Find the largest common length of prompt messages that fits, by measuring what the template makes of it."""
        spans = {
            index: self._token_spans(message.content)
            for index, message in enumerate(conversation.messages)
            if message.role in ("user", "tool")
        }
        lengths = [len(found) for found in spans.values()]
        room = sum(lengths) - (len(rendered.input_ids) - self._limit)
        for _ in range(_MAX_ROUNDS):
            most = _common_length(lengths, room)
            if most < MIN_MESSAGE_TOKENS:
                return None
            messages = list(conversation.messages)
            for index, found in spans.items():
                messages[index] = _without_middle(messages[index], found, most)
            shorter = self._render(replace(conversation, messages=tuple(messages)))
            excess = len(shorter.input_ids) - self._limit
            if excess <= 0:
                return shorter if _num_trained(shorter) == num_trained else None
            room -= excess
        return None

    def _render(self, conversation: Conversation) -> Rendered:
        return self._template.render(conversation, policy=self._policy)

    def _token_spans(self, text: str) -> list[tuple[int, int]]:
        encoded = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return [(int(start), int(end)) for start, end in encoded["offset_mapping"]]


def _num_trained(rendered: Rendered) -> int:
    return int(np.count_nonzero(rendered.weights))


def _without_first_exchange(conversation: Conversation) -> Conversation | None:
    """Leave out the messages from the first user turn to before the second; None when there is no second."""
    messages = conversation.messages
    users = [index for index, message in enumerate(messages) if message.role == "user"]
    if len(users) < 2:
        return None
    return replace(conversation, messages=(*messages[: users[0]], *messages[users[1] :]))


def _common_length(lengths: Sequence[int], room: int) -> int:
    """Give the largest limit per message under which the messages have at most `room` tokens in all."""
    low, high = 0, max(lengths, default=0)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(min(length, middle) for length in lengths) <= room:
            low = middle
        else:
            high = middle - 1
    return low


def _without_middle(message: Message, spans: Sequence[tuple[int, int]], most: int) -> Message:
    """Keep the first and last tokens of a message, `most` together."""
    if len(spans) <= most:
        return message
    head, tail = most - most // 2, most // 2
    text = message.content
    return replace(message, content=text[: spans[head - 1][1]] + GAP + text[spans[len(spans) - tail][0] :])
