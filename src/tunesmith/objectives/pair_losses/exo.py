# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Exact preference optimisation (EXO), arXiv 2402.00856, equation 16 for two answers.

Loss: the divergence KL(q ‖ p) of q = (σ(βΔ), σ(-βΔ)) from p = (1 - ε, ε), ε = `dpo_label_smoothing`; 0 is taken as
0.001, since the divergence from certainty is infinite.
"""

import math
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from tunesmith.objectives.pair_losses.base import PairLoss, PairSums, pair_losses
from tunesmith.objectives.statistics import Statistics

_LEAST_SMOOTHING = 1e-3


@pair_losses.register("exo")
class ExoLoss(PairLoss):
    """The reverse divergence of DPO's preferences from the given ones."""

    is_smoothed: ClassVar[bool] = True

    def losses(self, pairs: PairSums, statistics: Statistics) -> Tensor:
        """Give the loss of each pair."""
        logits_P = self.settings.beta * pairs.delta_P
        smoothing = self.settings.label_smoothing or _LEAST_SMOOTHING
        chosen_P = logits_P.sigmoid() * (logsigmoid(logits_P) - math.log1p(-smoothing))
        rejected_P = (-logits_P).sigmoid() * (logsigmoid(-logits_P) - math.log(smoothing))
        return chosen_P + rejected_P
