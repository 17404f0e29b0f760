# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Simple preference optimisation (SimPO), arXiv 2405.14734, without a reference.

Loss: -log σ(β(l_c - l_r) - γ), l the mean log-prob of an answer's tokens, γ = `simpo_gamma`.
"""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from tunesmith.objectives.pair_losses.base import PairLoss, PairSums, pair_losses
from tunesmith.objectives.statistics import Statistics


@pair_losses.register("simpo")
class SimpoLoss(PairLoss):
    """Mean log-probs with a target margin."""

    needs_reference: ClassVar[bool] = False

    def losses(self, pairs: PairSums, statistics: Statistics) -> Tensor:
        """Give the loss of each pair."""
        return -logsigmoid(self.settings.beta * pairs.mean_delta_P - self.settings.simpo_gamma)

    def rewards(self, pairs: PairSums) -> tuple[Tensor, Tensor]:
        """Give the rewards of a token: the loss compares those."""
        return self.settings.beta * pairs.mean_chosen_P, self.settings.beta * pairs.mean_rejected_P
