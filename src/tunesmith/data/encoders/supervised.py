# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Conversations with answers → one token row each, or several where the template rewrites earlier turns."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import Conversation, Example, Rendered, TokenRow
from tunesmith.data.cutting import Cut, Renderings
from tunesmith.data.encoders.base import EncodeRules, encoders
from tunesmith.data.encoders.rendering import Fitted, Rendering, RenderingEncoder, num_trained, prompt_of
from tunesmith.data.ratio import Mask, cut_turns
from tunesmith.data.splitting import ConversationSplitter
from tunesmith.templates.base import ChatTemplate, TrainPolicy


@encoders.register("supervised")
class SupervisedEncoder(RenderingEncoder):
    """Renders conversations as samples of training."""

    def __init__(self, rules: EncodeRules) -> None:
        super().__init__(rules)
        assert rules.template is not None, "supervised rows need a chat template"
        self._template: ChatTemplate = rules.template
        self._splitter = ConversationSplitter(limit=rules.cutoff_len, only_last=rules.policy.mask_history)

    def conversations(self, example: Example) -> tuple[Conversation, ...]:
        """Give the conversation."""
        return (prompt_of(example),)

    def render_all(self, conversations: Sequence[Conversation]) -> Sequence[Rendering]:
        """Render conversations as the template trains them."""
        return self._template.render_samples(conversations, policy=self.rules.policy)

    def fault(self, renderings: Renderings) -> str | None:
        """Refuse rows without a trained token."""
        return None if num_trained(renderings) else "nothing_supervised"

    def whole(self, example: Example, renderings: Renderings) -> Fitted:
        """Keep all samples."""
        if len(renderings) == 1:
            return super().whole(example, renderings)
        return Fitted(renderings=renderings, outcome="split", reason="samples")

    def to_rows(self, example: Example, renderings: Renderings) -> Sequence[TokenRow]:
        """Give a row for each rendering."""
        return [_to_row(example, rendered) for rendered in renderings]

    def split(self, example: Example, renderings: Renderings) -> Cut:
        """Split between turns, and within an answer where that is sound."""
        return self._splitter.split(
            prompt_of(example), lambda part: self.render_example(replace(example, conversation=part))
        )

    def cut_by_ratio(self, example: Example, renderings: Renderings) -> Renderings:
        """Cut prompts and answers turn by turn; the last turn first, where it alone is trained."""
        shorter = [
            cut_turns(
                rendered,
                self._answers(example, rendered) if len(renderings) == 1 else rendered.weights != 0,
                self.rules.cutoff_len,
                last_first=self.rules.policy.mask_history,
            )
            for rendered in renderings
        ]
        return tuple(rendered for rendered in shorter if num_trained((rendered,)))

    def _answers(self, example: Example, rendered: Rendered) -> Mask:
        """Say which tokens are answers, trained or not."""
        conversation = prompt_of(example)
        messages = tuple(replace(message, weight=None) for message in conversation.messages)
        policy = TrainPolicy(default_system=self.rules.policy.default_system)
        plain = self._template.render_many([replace(conversation, messages=messages)], policy=policy)[0]
        if isinstance(plain, TunesmithError) or not np.array_equal(plain.input_ids, rendered.input_ids):
            return np.not_equal(rendered.weights, 0)
        return np.not_equal(plain.weights, 0)


def _to_row(example: Example, rendered: Rendered) -> TokenRow:
    weights = rendered.weights.copy()
    weights[0] = 0.0  # Nothing precedes the first token, so it is never a target (train_on_prompt).
    return TokenRow(
        source=example.source,
        input_ids=rendered.input_ids,
        weights=weights,
        segment_lengths=(len(rendered.input_ids),),
        channel=example.channel,
    )
