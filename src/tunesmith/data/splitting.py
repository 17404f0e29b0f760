# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Splitting a conversation that is too long into sound parts, in which every trained token is trained once.

A part is the system prompt with some consecutive exchanges (a user's turn and what follows it). An answer that does not
fit even so is continued in further parts: each repeats the prompt and, untrained, the end of the part before.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from tunesmith.core.types import Conversation, Message, Rendered
from tunesmith.data.cutting import Cut, Render, Renderings

# An answer is continued only where its prompt leaves half of the limit; a quarter of the rest repeats the part before.
_MAX_PROMPT_SHARE = 0.5
_REPEATED_SHARE = 0.25

Messages = tuple[Message, ...]


@dataclass(frozen=True, kw_only=True)
class ConversationSplitter:
    """Splits conversations for one length limit; with `only_last` their last answer alone is trained."""

    limit: int
    only_last: bool

    def split(self, conversation: Conversation, render: Render) -> Cut:
        """Give the parts that have something to train; all parts, or none where one exchange cannot be split."""
        head, exchanges = _exchanges(conversation.messages)
        parts: list[Rendered] = []
        reason = "turn_parts"
        while exchanges:
            taken, renderings = self._most(replace(conversation, messages=head), exchanges, render)
            renderings = tuple(rendered for rendered in renderings if np.any(rendered.weights[1:]))
            if any(len(rendered.input_ids) > self.limit for rendered in renderings):
                continued = self._continued(renderings)
                if continued is None:
                    return Cut(renderings=None, reason="exchange_too_long")
                renderings, reason = continued, "answer_parts"
            parts += renderings
            exchanges = exchanges[taken:]
        return Cut(renderings=tuple(parts), reason=reason if len(parts) > 1 else "turns_cut")

    def _most(self, head: Conversation, exchanges: Sequence[Messages], render: Render) -> tuple[int, Renderings]:
        """Take as many exchanges as fit, at least one, and render them behind the system prompt."""
        taken = 1
        renderings = self._part(head, exchanges, 1, render)
        while taken < len(exchanges):
            more = self._part(head, exchanges, taken + 1, render)
            if any(len(rendered.input_ids) > self.limit for rendered in more):
                break
            taken, renderings = taken + 1, more
        return taken, renderings

    def _part(self, head: Conversation, exchanges: Sequence[Messages], taken: int, render: Render) -> Renderings:
        messages = tuple(message for exchange in exchanges[:taken] for message in exchange)
        if self.only_last and taken < len(exchanges):
            messages = tuple(_untrained(message) for message in messages)
        return render(replace(head, messages=(*head.messages, *messages)))

    def _continued(self, renderings: Renderings) -> Renderings | None:
        """Continue one answer in several parts; None where more than one answer is trained or the prompt is long."""
        if len(renderings) > 1:
            return None
        trained = np.flatnonzero(renderings[0].weights)
        first, last = int(trained[0]), int(trained[-1])
        if last - first + 1 != len(trained) or first > self.limit * _MAX_PROMPT_SHARE:
            return None
        return tuple(self._windows(renderings[0], first, last))

    def _windows(self, rendered: Rendered, first: int, last: int) -> Iterator[Rendered]:
        """Give the prompt with the first tokens of the answer, then again and again with those that follow."""
        room = self.limit - first
        start = first
        while start <= last:
            repeated = 0 if start == first else int(room * _REPEATED_SHARE)
            end = min(start - repeated + room, len(rendered.input_ids))
            places = np.r_[0:first, start - repeated : end]
            weights = rendered.weights[places]
            weights[first : first + repeated] = 0.0
            yield replace(rendered, input_ids=rendered.input_ids[places], weights=weights)
            start = end


def _exchanges(messages: Messages) -> tuple[Messages, list[Messages]]:
    """Separate the system prompt, and give each user's turn with what follows it."""
    first = next((index for index, message in enumerate(messages) if message.role != "system"), len(messages))
    starts = [
        index
        for index in range(first, len(messages))
        if index == first or (messages[index].role == "user" and messages[index - 1].role != "user")
    ]
    spans = pairwise([*starts, len(messages)])
    return messages[:first], [messages[start:end] for start, end in spans]


def _untrained(message: Message) -> Message:
    is_open = message.role == "assistant" and message.weight is None
    return replace(message, weight=0.0) if is_open else message
