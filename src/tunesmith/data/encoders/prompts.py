# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Prompts without an answer → one token row each, up to where the model begins to write; nothing is trained.

What a reward needs besides (a reference answer, further columns) stays with the row's source.
"""

from collections.abc import Sequence

import numpy as np

from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import Conversation, Example, TokenRow
from tunesmith.data.cutting import Renderings
from tunesmith.data.encoders.base import EncodeRules, encoders
from tunesmith.data.encoders.rendering import Rendering, RenderingEncoder, prompt_of
from tunesmith.data.ratio import cut_answers
from tunesmith.templates.base import ChatTemplate


@encoders.register("prompt")
class PromptEncoder(RenderingEncoder):
    """Renders conversations with the generation prompt."""

    def __init__(self, rules: EncodeRules) -> None:
        super().__init__(rules)
        assert rules.template is not None, "prompts need a chat template"
        self._template: ChatTemplate = rules.template

    def conversations(self, example: Example) -> tuple[Conversation, ...]:
        """Give the conversation."""
        return (prompt_of(example),)

    def render_all(self, conversations: Sequence[Conversation]) -> Sequence[Rendering]:
        """Render each conversation and the beginning of the answer."""
        results = self._template.render_many(conversations, add_generation_prompt=True, policy=self.rules.policy)
        return [result if isinstance(result, TunesmithError) else (result,) for result in results]

    def cut_by_ratio(self, example: Example, renderings: Renderings) -> Renderings:
        """Keep the head of the prompt."""
        return cut_answers(renderings, len(renderings[0].input_ids), self.rules.cutoff_len)

    def to_rows(self, example: Example, renderings: Renderings) -> Sequence[TokenRow]:
        """Give the prompt's row."""
        ids = renderings[0].input_ids
        return [
            TokenRow(
                source=example.source,
                input_ids=ids,
                weights=np.zeros(len(ids), dtype=np.float32),
                segment_lengths=(len(ids),),
                segment_names=("prompt",),
            )
        ]
