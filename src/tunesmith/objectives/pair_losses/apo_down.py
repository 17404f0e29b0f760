# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Anchored preference optimisation, arXiv 2408.06266, equation 8: the model's own answers beat the chosen ones.

Loss: σ(βc) + 1 - σ(βΔ). Both likelihoods fall, the rejected one's further.
"""

from torch import Tensor

from tunesmith.objectives.pair_losses.base import PairLoss, PairSums, pair_losses
from tunesmith.objectives.statistics import Statistics


@pair_losses.register("apo_down")
class ApoDownLoss(PairLoss):
    """Both down, rejected more."""

    def losses(self, pairs: PairSums, statistics: Statistics) -> Tensor:
        """Give the loss of each pair."""
        return (self.settings.beta * pairs.chosen_P).sigmoid() + 1 - (self.settings.beta * pairs.delta_P).sigmoid()
