# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The hinge loss of SLiC-HF on DPO's rewards, arXiv 2305.10425 and 2309.06657.

Loss: max(0, 1 - βΔ). Pairs that are told apart by a margin of 1 are left alone.
"""

from torch import Tensor

from tunesmith.objectives.pair_losses.base import PairLoss, PairSums, pair_losses
from tunesmith.objectives.statistics import Statistics


@pair_losses.register("hinge")
class HingeLoss(PairLoss):
    """Hinge on the margin of the rewards."""

    def losses(self, pairs: PairSums, statistics: Statistics) -> Tensor:
        """Give the loss of each pair."""
        return (1 - self.settings.beta * pairs.delta_P).relu()
