# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Contrastive preference optimisation (CPO), arXiv 2401.08417, without a reference.

Loss: -log σ(β(log π_c - log π_r)) - `cpo_alpha` · l_c, l_c the mean log-prob of the chosen answer's tokens.
"""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from tunesmith.objectives.pair_losses.base import PairLoss, PairSums, pair_losses
from tunesmith.objectives.statistics import Statistics


@pair_losses.register("cpo")
class CpoLoss(PairLoss):
    """Contrast and likelihood of the chosen answer."""

    needs_reference: ClassVar[bool] = False

    def losses(self, pairs: PairSums, statistics: Statistics) -> Tensor:
        """Give the loss of each pair."""
        return -logsigmoid(self.settings.beta * pairs.delta_P) - self.settings.cpo_alpha * pairs.mean_chosen_P
