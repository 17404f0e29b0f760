# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Direct preference optimisation (DPO), arXiv 2305.18290; with smoothing the conservative cDPO.

Loss: -(1 - ε) log σ(βΔ) - ε log σ(-βΔ), ε = `dpo_label_smoothing`, the share of pairs that may be swapped. The default.
"""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from tunesmith.objectives.pair_losses.base import PairLoss, PairSums, pair_losses
from tunesmith.objectives.statistics import Statistics


@pair_losses.register("sigmoid")
class SigmoidLoss(PairLoss):
    """DPO as published."""

    is_smoothed: ClassVar[bool] = True

    def losses(self, pairs: PairSums, statistics: Statistics) -> Tensor:
        """Give the loss of each pair."""
        logits_P = self.settings.beta * pairs.delta_P
        smoothing = self.settings.label_smoothing
        return -(1 - smoothing) * logsigmoid(logits_P) - smoothing * logsigmoid(-logits_P)
