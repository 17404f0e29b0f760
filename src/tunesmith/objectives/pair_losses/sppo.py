# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Self-play preference optimisation (SPPO), arXiv 2405.00675, with certain preferences (hard labels).

Loss: (c - 1 / (2β))² + (r + 1 / (2β))².
"""

from torch import Tensor

from tunesmith.objectives.pair_losses.base import PairLoss, PairSums, pair_losses
from tunesmith.objectives.statistics import Statistics


@pair_losses.register("sppo")
class SppoLoss(PairLoss):
    """Log-ratios drawn to fixed places on either side."""

    def losses(self, pairs: PairSums, statistics: Statistics) -> Tensor:
        """Give the loss of each pair."""
        place = 1 / (2 * self.settings.beta)
        return (pairs.chosen_P - place).square() + (pairs.rejected_P + place).square()
