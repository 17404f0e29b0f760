# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""KTO on pairs, arXiv 2402.01306: how far each answer is from what the model does with the other kind.

Loss: ½ (1 - σ(βc - βK_r)) + ½ (1 - σ(βK_c - βr)), K_c = max(0, mean c) and K_r = max(0, mean r) over all pairs of the
optimizer step, without gradient.
"""

from typing import ClassVar

from torch import Tensor

from tunesmith.objectives.pair_losses.base import PairLoss, PairSums, pair_losses
from tunesmith.objectives.statistics import Statistics

_CHOSEN, _REJECTED = "kto_pair chosen", "kto_pair rejected"


@pair_losses.register("kto_pair")
class KtoPairLoss(PairLoss):
    """KTO with the divergences of the step's own answers."""

    is_plain_sum: ClassVar[bool] = False

    def losses(self, pairs: PairSums, statistics: Statistics) -> Tensor:
        """Give the loss of each pair."""
        beta = self.settings.beta
        chosen_divergence, rejected_divergence = (max(0.0, statistics.mean(name)) for name in (_CHOSEN, _REJECTED))
        chosen_P = 1 - (beta * (pairs.chosen_P - rejected_divergence)).sigmoid()
        rejected_P = 1 - (beta * (chosen_divergence - pairs.rejected_P)).sigmoid()
        return (chosen_P + rejected_P) / 2

    def step_statistics(self, pairs: PairSums) -> Statistics:
        """Sum the log-ratios of either kind."""
        sums = {_CHOSEN: pairs.chosen_P, _REJECTED: pairs.rejected_P}
        return Statistics(sums={name: (ratios.double().sum().item(), len(ratios)) for name, ratios in sums.items()})
