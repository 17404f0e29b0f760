# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""One prompt with answers to compare or to judge → one token row: a prompt segment with a child for each answer.

Only the answers are trained, not the earlier turns. Each path from the prompt through an answer holds exactly the ids
that the template gives for that conversation.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tunesmith.core.errors import TunesmithError, refusal
from tunesmith.core.types import NO_PARENT, Conversation, Example, TokenRow
from tunesmith.data.cutting import Renderings
from tunesmith.data.encoders.base import EncodeRules, encoders
from tunesmith.data.encoders.rendering import (
    Rendering,
    RenderingEncoder,
    num_trained,
    prompt_of,
    untrained,
    without_training,
)
from tunesmith.data.ratio import cut_answers
from tunesmith.templates.base import ChatTemplate


class AnswersEncoder(RenderingEncoder):
    """Base of encoders whose rows are a prompt with one or several answers."""

    names: tuple[str, ...]  # of the prompt's segment and the answers'; the last one repeats

    def __init__(self, rules: EncodeRules) -> None:
        super().__init__(rules)
        assert rules.template is not None, "answers need a chat template"
        self._template: ChatTemplate = rules.template
        self._policy = replace(rules.policy, mask_history=False, train_on_prompt=False)

    def render_all(self, conversations: Sequence[Conversation]) -> Sequence[Rendering]:
        """Render each conversation once: what comes before its answer is never trained."""
        results = self._template.render_many(conversations, policy=self._policy)
        return [result if isinstance(result, TunesmithError) else (result,) for result in results]

    def fault(self, renderings: Renderings) -> str | None:
        """Refuse rows with an answer that has no trained token."""
        return None if all(num_trained((rendered,)) for rendered in renderings) else "nothing_supervised"

    def cut_by_ratio(self, example: Example, renderings: Renderings) -> Renderings:
        """Cut the prompt and, all alike, the answers."""
        return cut_answers(renderings, shared_length(renderings), self.rules.cutoff_len)

    def to_rows(self, example: Example, renderings: Renderings) -> Sequence[TokenRow]:
        """Give one row: the prompt once, then each answer."""
        shared = shared_length(renderings)
        tails = [slice(shared, None)] * len(renderings)
        prompt = renderings[0]
        ids = [prompt.input_ids[:shared], *(each.input_ids[tail] for each, tail in zip(renderings, tails, strict=True))]
        weights = [prompt.weights[:shared], *(each.weights[shared:] for each in renderings)]
        names = [*self.names, *self.names[-1:] * len(renderings)][: len(ids)]
        return [
            TokenRow(
                source=example.source,
                input_ids=np.concatenate(ids),
                weights=np.concatenate(weights),
                segment_lengths=tuple(map(len, ids)),
                segment_parents=(NO_PARENT, *(0,) * len(renderings)),
                segment_names=tuple(names),
                label=self.label(example),
            )
        ]

    def label(self, example: Example) -> float | None:
        """Give the row's label."""
        return None


@encoders.register("preference")
class PreferenceEncoder(AnswersEncoder):
    """A prompt with a chosen and one or several rejected answers."""

    names = ("prompt", "chosen", "rejected")

    def conversations(self, example: Example) -> tuple[Conversation, ...]:
        """Give the prompt with each of its answers."""
        prompt = without_training(prompt_of(example))
        answers = (example.chosen, *example.rejected)
        return tuple(replace(prompt, messages=(*prompt.messages, *answer)) for answer in answers)

    def label(self, example: Example) -> float | None:
        """Give the margin by which the chosen answer is better, where the source has one."""
        margin = example.fields.get("margin")
        if margin is None:
            return None
        try:
            found = float(margin) if not isinstance(margin, bool) else math.nan
        except (TypeError, ValueError):
            found = math.nan
        if not math.isfinite(found):
            raise _no_margin(margin)
        return found


@encoders.register("feedback")
class FeedbackEncoder(AnswersEncoder):
    """A prompt with an answer that is liked (label 1) or not (0)."""

    names = ("prompt", "answer")

    def conversations(self, example: Example) -> tuple[Conversation, ...]:
        """Give the conversation, of which only what follows the last user or tool turn is trained."""
        conversation = prompt_of(example)
        messages = conversation.messages
        start = max((i + 1 for i, message in enumerate(messages) if message.role != "assistant"), default=0)
        earlier = tuple(untrained(message) for message in messages[:start])
        return (replace(conversation, messages=(*earlier, *messages[start:])),)

    def label(self, example: Example) -> float | None:
        """Give 1 for an answer that is liked."""
        return float(bool(example.label))


def _no_margin(margin: object) -> TunesmithError:
    return refusal(
        "data.margin_invalid",
        f"The margin {str(margin)[:60]!r} is no number.",
        "Give by how much the chosen answer is better as a number, or rename the column.",
    )


def shared_length(renderings: Renderings) -> int:
    """Count the tokens that all renderings begin with, before any that is trained."""
    first = renderings[0]
    shared = min(int(np.argmax(rendered.weights != 0)) for rendered in renderings)
    for other in renderings[1:]:
        differing = np.flatnonzero(first.input_ids[:shared] != other.input_ids[:shared])
        shared = int(differing[0]) if len(differing) else shared
    return shared
