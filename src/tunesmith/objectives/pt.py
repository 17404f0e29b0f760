# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Continued pre-training: the likelihood of plain text.

Loss: the sum over all tokens t but the first of a document of −log p(t | all before t), averaged over the number of
such tokens in the whole optimizer step. For raw text without roles.
"""

from typing import ClassVar

from tunesmith.config.section import Section
from tunesmith.core.types import Batch, LossOutput, RowKind, Scores
from tunesmith.objectives.base import Objective, Statistics, Unit, objectives
from tunesmith.objectives.likelihood import negative_log_likelihood, token_units


class PtParams(Section):
    """Keys of stage pt; it has none of its own."""

    section: ClassVar[str] = "pt"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"stage": ("pt",)}


@objectives.register("pt")
class LanguageModelling(Objective):
    """Negative log-likelihood of every token of a text."""

    Params: ClassVar[type[Section]] = PtParams
    row_kind: ClassVar[RowKind] = "text"
    unit: ClassVar[Unit] = "token"
    is_likelihood: ClassVar[bool] = True

    def units(self, batch: Batch) -> float:
        """Count the tokens that are predicted."""
        return token_units(batch)

    def loss(
        self, batch: Batch, policy: Scores, reference: Scores | None = None, statistics: Statistics | None = None
    ) -> LossOutput:
        """Sum −log p over the tokens."""
        return negative_log_likelihood(batch, policy)
