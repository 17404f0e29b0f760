# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Cutting the prompt of a conversation that is too long, so that every trained token stays.

First the earliest turns are left out, as long as none of them is trained. Then user and tool messages longer than a
common number of tokens lose their middle, since a task stands at either end of a long message. System prompt, tools
and answers stay whole; the result is rendered anew, so the template's own tokens are never cut. A prompt that several
answers share is cut alike for all of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from transformers import PreTrainedTokenizerBase

from tunesmith.core.types import Conversation, Message, Rendered

# What stands where the middle of a message was.
GAP = " … "
# A prompt message keeps at least so many tokens, or the row is given up: an answer to nothing teaches nothing.
MIN_MESSAGE_TOKENS = 8
_MAX_ROUNDS = 8

Renderings = tuple[Rendered, ...]
# Renders a conversation that may be cut with everything that follows it: once, or once for each answer.
Render = Callable[[Conversation], Renderings]


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Shorter renderings and how they were made, or None and why there are none; `reason` is a name of the ledger's."""

    renderings: Renderings | None
    reason: str


class PromptCutter:
    """Cuts prompts for one tokenizer and length limit."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, limit: int) -> None:
        self._tokenizer = tokenizer
        self._limit = limit

    def cut(self, conversation: Conversation, renderings: Renderings, render: Render) -> Cut:
        """Shorten renderings of which one is longer than the limit; `render` makes them of a shorter conversation."""
        if any(np.count_nonzero(rendered.weights) >= self._limit for rendered in renderings):
            return Cut(renderings=None, reason="answer_too_long")
        num_trained = _num_trained(renderings)
        conversation, renderings = self._leave_out_turns(conversation, renderings, render)
        if _longest(renderings) <= self._limit:
            return Cut(renderings=renderings, reason="turns_cut")
        shortened = self._shorten_messages(conversation, renderings, render)
        if shortened is None or _num_trained(shortened) != num_trained:
            return Cut(renderings=None, reason="prompt_too_long")
        return Cut(renderings=shortened, reason="prompt_cut")

    def _leave_out_turns(
        self, conversation: Conversation, renderings: Renderings, render: Render
    ) -> tuple[Conversation, Renderings]:
        """Leave out the earliest turns up to a user turn, again and again, while no trained token goes with them."""
        num_trained = _num_trained(renderings)
        while _longest(renderings) > self._limit:
            fewer = _without_first_exchange(conversation)
            if fewer is None:
                break
            shorter = render(fewer)
            if _num_trained(shorter) != num_trained:
                break
            conversation, renderings = fewer, shorter
        return conversation, renderings

    def _shorten_messages(
        self, conversation: Conversation, renderings: Renderings, render: Render
    ) -> Renderings | None:
        """Find the largest common length of prompt messages that fits, by measuring what the template makes of it."""
        spans = {
            index: self._token_spans(message.content)
            for index, message in enumerate(conversation.messages)
            if message.role in ("user", "tool")
        }
        lengths = [len(found) for found in spans.values()]
        room = sum(lengths) - (_longest(renderings) - self._limit)
        for _ in range(_MAX_ROUNDS):
            most = _common_length(lengths, room)
            if most < MIN_MESSAGE_TOKENS:
                return None
            messages = list(conversation.messages)
            for index, found in spans.items():
                messages[index] = _without_middle(messages[index], found, most)
            shorter = render(replace(conversation, messages=tuple(messages)))
            excess = _longest(shorter) - self._limit
            if excess <= 0:
                return shorter
            room -= excess
        return None

    def _token_spans(self, text: str) -> list[tuple[int, int]]:
        encoded = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return [(int(start), int(end)) for start, end in encoded["offset_mapping"]]


def _num_trained(renderings: Renderings) -> int:
    return sum(int(np.count_nonzero(rendered.weights)) for rendered in renderings)


def _longest(renderings: Renderings) -> int:
    return max(len(rendered.input_ids) for rendered in renderings)


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
