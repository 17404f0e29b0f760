# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Encoders of a real tokenizer and template, and what they make of examples."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from transformers import PreTrainedTokenizerBase

from tunesmith.core.types import Example, RowKind, TokenRow
from tunesmith.data.encoders.base import EncodeRules, LengthPolicy, Notes, encoders
from tunesmith.templates.base import ChatTemplate, TrainPolicy


@dataclass(frozen=True)
class Encoded:
    """The rows of some examples and the notes of the encoder."""

    rows: list[TokenRow]
    notes: Notes

    def outcomes(self) -> list[tuple[str, str, int]]:
        """Give outcome, reason and number of rows of each example that has an outcome."""
        return [(outcome, reason, parts) for _, outcome, reason, parts in self.notes.outcomes]


@dataclass(frozen=True)
class Workbench:
    """Encodes examples with one tokenizer and template."""

    tokenizer: PreTrainedTokenizerBase
    template: ChatTemplate | None

    def rules(
        self,
        *,
        cutoff_len: int = 100_000,
        length_policy: LengthPolicy = "truncate_prompt",
        policy: TrainPolicy = TrainPolicy(),  # noqa: B008
        classes: tuple[str, ...] = (),
    ) -> EncodeRules:
        """Give the rules of encoding; by default no row is too long."""
        return EncodeRules(
            tokenizer=self.tokenizer,
            template=self.template,
            policy=policy,
            cutoff_len=cutoff_len,
            length_policy=length_policy,
            classes=classes,
        )

    def encode(self, kind: RowKind, examples: Sequence[Example], rules: EncodeRules | None = None) -> Encoded:
        """Encode examples; each ends in exactly one of the notes' three lists."""
        notes = Notes()
        rules = rules or self.rules()
        rows = list(encoders.get(kind)(rules).encode(examples, notes))
        assert len(notes.outcomes) + len(notes.bad_rows) + len(notes.too_long) == len(examples)
        assert sum(outcome.parts for outcome in notes.outcomes) == len(rows)
        for row in rows:
            assert sum(row.segment_lengths) == len(row.input_ids) == len(row.weights)
        return Encoded(rows=rows, notes=notes)


@pytest.fixture
def bench(tokenizer: PreTrainedTokenizerBase, template: ChatTemplate) -> Workbench:
    """Give the workbench of SmolLM2's tokenizer and template."""
    return Workbench(tokenizer=tokenizer, template=template)


@pytest.fixture
def bare_bench(tokenizer: PreTrainedTokenizerBase) -> Workbench:
    """Give a workbench without a template."""
    return Workbench(tokenizer=tokenizer, template=None)
