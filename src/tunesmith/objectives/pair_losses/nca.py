# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Noise contrastive alignment (NCA), arXiv 2402.05369, for a pair of answers.

Loss: -log σ(βc) - ½ log σ(-βc) - ½ log σ(-βr). It keeps the chosen answer's likelihood from falling.
"""

from torch import Tensor
from torch.nn.functional import logsigmoid

from tunesmith.objectives.pair_losses.base import PairLoss, PairSums, pair_losses
from tunesmith.objectives.statistics import Statistics


@pair_losses.register("nca")
class NcaLoss(PairLoss):
    """Absolute likelihoods beside the difference."""

    def losses(self, pairs: PairSums, statistics: Statistics) -> Tensor:
        """Give the loss of each pair."""
        chosen_P, rejected_P = self.settings.beta * pairs.chosen_P, self.settings.beta * pairs.rejected_P
        return -logsigmoid(chosen_P) - 0.5 * logsigmoid(-chosen_P) - 0.5 * logsigmoid(-rejected_P)
