# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Anchored preference optimisation, arXiv 2408.06266, equation 7: the chosen answers beat the model's own.

Loss: 1 - σ(βc) + σ(βr). The chosen answer's likelihood rises, the rejected one's falls.
"""

from torch import Tensor

from tunesmith.objectives.pair_losses.base import PairLoss, PairSums, pair_losses
from tunesmith.objectives.statistics import Statistics


@pair_losses.register("apo_zero")
class ApoZeroLoss(PairLoss):
    """Chosen up, rejected down."""

    def losses(self, pairs: PairSums, statistics: Statistics) -> Tensor:
        """Give the loss of each pair."""
        return 1 - (self.settings.beta * pairs.chosen_P).sigmoid() + (self.settings.beta * pairs.rejected_P).sigmoid()
