# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Robust DPO, arXiv 2403.00409, equation 15: unbiased where a known share of the pairs is swapped.

Loss: (-(1 - ε) log σ(βΔ) + ε log σ(-βΔ)) / (1 - 2ε), ε = `dpo_label_smoothing` < 0.5.
"""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from tunesmith.objectives.pair_losses.base import PairLoss, PairSums, pair_losses
from tunesmith.objectives.statistics import Statistics


@pair_losses.register("robust")
class RobustLoss(PairLoss):
    """DPO, corrected for swapped pairs."""

    is_smoothed: ClassVar[bool] = True

    def losses(self, pairs: PairSums, statistics: Statistics) -> Tensor:
        """Give the loss of each pair."""
        logits_P = self.settings.beta * pairs.delta_P
        smoothing = self.settings.label_smoothing
        clean_P, swapped_P = -(1 - smoothing) * logsigmoid(logits_P), -smoothing * logsigmoid(-logits_P)
        return (clean_P - swapped_P) / (1 - 2 * smoothing)
