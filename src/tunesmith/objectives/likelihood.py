# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Negative log-likelihood of the supervised tokens, as sums: what plain language modelling and fine-tuning share.

Loss: the sum over supervised tokens t of w_t · l_t; its unit is the token weight Σ w_t. l_t is −log p(t | all before
t), with `label_smoothing_factor` the share ε of it replaced by the mean of −log p over the vocabulary (arXiv
1512.00567).
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from tunesmith.config.section import Section
from tunesmith.core.types import Batch, Detail, LossOutput, Scores
from tunesmith.objectives.base import Objective, Unit
from tunesmith.objectives.statistics import Statistics

Metrics = dict[str, tuple[Tensor | float, Tensor | float]]


class LikelihoodParams(Section):
    """Keys of training on the likelihood of tokens."""

    section: ClassVar[str] = "likelihood"

    label_smoothing_factor: float = Field(
        0.0, ge=0.0, lt=1.0, description="Share of each target that is spread evenly over the vocabulary."
    )
    enable_channel_loss: bool = Field(
        False, description="Log the loss of each channel: the rows' column channel, or else their data set."
    )


class Likelihood(Objective):
    """Base of the objectives whose loss is the weighted negative log-likelihood."""

    unit: ClassVar[Unit] = "token"
    is_likelihood: bool = True

    def __init__(self, params: Section) -> None:
        super().__init__(params)
        assert isinstance(params, LikelihoodParams)
        self._smoothing, self._shows_channels = params.label_smoothing_factor, params.enable_channel_loss
        self.is_likelihood = not self._smoothing

    @property
    def details(self) -> frozenset[Detail]:
        """Ask for the mean log-prob of the vocabulary where targets are smoothed."""
        return frozenset({"mean_logp"} if self._smoothing else ())

    def units(self, batch: Batch) -> float:
        """Sum the weights of the supervised tokens."""
        return float(batch.target_weights_N.double().sum())

    def loss(
        self, batch: Batch, policy: Scores, reference: Scores | None = None, statistics: Statistics | None = None
    ) -> LossOutput:
        """Sum the weighted losses of the tokens; the plain mean is a metric where the loss is another."""
        weights_N = batch.target_weights_N.to(policy.logps_N.device)
        losses_N = weights_N * self.token_losses(policy)
        metrics: Metrics = {}
        if policy.is_top_N is not None:
            metrics["accuracy"] = (policy.is_top_N.sum(), policy.is_top_N.numel())
        if not self.is_likelihood:
            metrics["nll"] = (-(weights_N * policy.logps_N.detach()).sum(), weights_N.sum())
        if self._shows_channels:
            metrics |= channel_losses(batch, losses_N.detach(), weights_N)
        return LossOutput(loss=losses_N.sum(), metrics=metrics)

    def token_losses(self, policy: Scores) -> Tensor:
        """Give the loss of each token, before weights."""
        if not self._smoothing:
            return -policy.logps_N
        assert policy.mean_logps_N is not None, "the objective asked for it"
        return -(1 - self._smoothing) * policy.logps_N - self._smoothing * policy.mean_logps_N


def channel_losses(batch: Batch, losses_N: Tensor, weights_N: Tensor) -> Metrics:
    """Give the loss of each channel as sum and weight; rows without a channel count by their data set."""
    of_row = [row.dataset for row in batch.rows]
    for place, channel in enumerate(batch.channels):
        of_row[place] = of_row[place] if channel is None else channel
    names = sorted(set(of_row))
    number_B = torch.tensor([names.index(name) for name in of_row], dtype=torch.long, device=losses_N.device)
    number_N = number_B[batch.segment_row_S[batch.target_segment_N]] if of_row else number_B
    empty_C = losses_N.new_zeros(len(names))
    sums_C, weights_C = empty_C.index_add(0, number_N, losses_N), empty_C.index_add(0, number_N, weights_N)
    return {f"loss_{name}": (sums_C[place], weights_C[place]) for place, name in enumerate(names)}
