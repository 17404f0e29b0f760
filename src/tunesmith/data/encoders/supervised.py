# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Conversations with answers → one token row each, rendered by the template, within the length limit."""

from collections.abc import Iterator, Sequence

import numpy as np

from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import Conversation, Example, Rendered, TokenRow
from tunesmith.data.cutting import PromptCutter
from tunesmith.data.encoders.base import BATCH_ROWS, Encoder, EncodeRules, Notes, encoders
from tunesmith.data.examples import BadRow
from tunesmith.templates.base import ChatTemplate


@encoders.register("supervised")
class SupervisedEncoder(Encoder):
    """Renders conversations; a longer row is refused, dropped or its prompt cut, as `length_policy` says."""

    def __init__(self, rules: EncodeRules) -> None:
        super().__init__(rules)
        assert rules.template is not None, "supervised rows need a chat template"
        self._template: ChatTemplate = rules.template
        self._cutter = PromptCutter(rules.template, rules.tokenizer, policy=rules.policy, limit=rules.cutoff_len)

    def encode(self, examples: Sequence[Example], notes: Notes) -> Iterator[TokenRow]:
        """Render the examples in batches."""
        for start in range(0, len(examples), BATCH_ROWS):
            batch = examples[start : start + BATCH_ROWS]
            rendered = self._template.render_many([_conversation(one) for one in batch], policy=self.rules.policy)
            for example, result in zip(batch, rendered, strict=True):
                if isinstance(result, TunesmithError):
                    notes.bad_rows.extend(_bad_rows(example, result))
                else:
                    yield from self._fit(example, result, notes)

    def _fit(self, example: Example, rendered: Rendered, notes: Notes) -> Iterator[TokenRow]:
        """Give the row when it can be used within the limit, and record its outcome."""
        if not np.any(rendered.weights[1:]):
            notes.record(example, "dropped", "nothing_supervised")
        elif len(rendered.input_ids) <= self.rules.cutoff_len:
            notes.record(example, "kept")
            yield _to_row(example, rendered)
        elif self.rules.length_policy == "refuse":
            notes.too_long.append((example.source, len(rendered.input_ids)))
        elif self.rules.length_policy == "drop":
            notes.record(example, "dropped", "too_long")
        else:
            cut = self._cutter.cut(_conversation(example), rendered)
            notes.record(example, "dropped" if cut.rendered is None else "cut", cut.reason)
            if cut.rendered is not None:
                yield _to_row(example, cut.rendered)


def _conversation(example: Example) -> Conversation:
    assert example.conversation is not None, "a supervised example has a conversation"
    return example.conversation


def _to_row(example: Example, rendered: Rendered) -> TokenRow:
    weights = rendered.weights.copy()
    weights[0] = 0.0  # Nothing precedes the first token, so it is never a target (train_on_prompt).
    return TokenRow(
        source=example.source,
        input_ids=rendered.input_ids,
        weights=weights,
        segment_lengths=(len(rendered.input_ids),),
    )


def _bad_rows(example: Example, error: TunesmithError) -> list[BadRow]:
    return [
        BadRow(source=example.source, code=problem.code, message=problem.message, remedy=problem.remedy)
        for problem in error.problems[:1]
    ]
