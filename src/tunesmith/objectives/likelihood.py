# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Negative log-likelihood of the supervised tokens, as sums: what plain language modelling and fine-tuning share.

Loss: the sum over supervised tokens t of w_t · −log p(t | all before t); its unit is the token weight Σ w_t.
"""

from typing import ClassVar

from tunesmith.core.types import Batch, LossOutput, Scores
from tunesmith.objectives.base import Objective, Unit
from tunesmith.objectives.statistics import Statistics


class Likelihood(Objective):
    """Base of the objectives whose loss is the weighted negative log-likelihood."""

    unit: ClassVar[Unit] = "token"
    is_likelihood: bool = True

    def units(self, batch: Batch) -> float:
        """Sum the weights of the supervised tokens."""
        return float(batch.target_weights_N.double().sum())

    def loss(
        self, batch: Batch, policy: Scores, reference: Scores | None = None, statistics: Statistics | None = None
    ) -> LossOutput:
        """Sum w · −log p over the supervised tokens; metric: the share of them that the model ranks first."""
        weights_N = batch.target_weights_N.to(policy.logps_N.device)
        loss = -(weights_N * policy.logps_N).sum()
        if policy.is_top_N is None:
            return LossOutput(loss=loss)
        return LossOutput(loss=loss, metrics={"accuracy": (policy.is_top_N.sum(), policy.is_top_N.numel())})
