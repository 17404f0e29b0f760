# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Alignment by optimal transport (AOT), arXiv 2406.05882, for pairs.

Loss: DPO's with ε = `dpo_label_smoothing`, where each pair's policy margin log π_c - log π_r is compared with the
reference margin of the same rank among all pairs of the optimizer step: distributions are compared, not single pairs.
"""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from tunesmith.objectives.pair_losses.base import PairLoss, PairSums, pair_losses
from tunesmith.objectives.statistics import Statistics

_POLICY, _REFERENCE = "aot policy", "aot reference"


@pair_losses.register("aot")
class AotLoss(PairLoss):
    """DPO between sorted margins."""

    is_plain_sum: ClassVar[bool] = False
    is_smoothed: ClassVar[bool] = True

    def losses(self, pairs: PairSums, statistics: Statistics) -> Tensor:
        """Give the loss of each pair."""
        margins_P = pairs.policy_chosen_P - pairs.policy_rejected_P
        logits_P = self.settings.beta * (margins_P - _of_same_rank(margins_P.detach(), statistics))
        smoothing = self.settings.label_smoothing
        return -(1 - smoothing) * logsigmoid(logits_P) - smoothing * logsigmoid(-logits_P)

    def step_statistics(self, pairs: PairSums) -> Statistics:
        """List both margins of each pair."""
        return Statistics(
            rows={
                _POLICY: (pairs.policy_chosen_P - pairs.policy_rejected_P).detach(),
                _REFERENCE: (pairs.reference_chosen_P - pairs.reference_rejected_P).detach(),
            }
        )


def _of_same_rank(margins_P: Tensor, statistics: Statistics) -> Tensor:
    """Give the reference margin whose rank in the step each policy margin has; equal margins share the mean."""
    policy, reference = statistics.rows[_POLICY].sort().values, statistics.rows[_REFERENCE].sort().values
    first_P = torch.searchsorted(policy, margins_P)
    end_P = torch.searchsorted(policy, margins_P, right=True)
    last_P = torch.maximum(end_P, first_P + 1).clamp(max=len(policy))
    first_P = torch.minimum(first_P, last_P - 1)
    sums = torch.cat([reference.new_zeros(1).double(), reference.double().cumsum(0)])
    return ((sums[last_P] - sums[first_P]) / (last_P - first_P)).to(margins_P.dtype)
