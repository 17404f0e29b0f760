# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Length-normalised DPO, arXiv 2411.15124 (Tülu 3): the log-ratios of a token instead of an answer.

Loss: -log σ(βΔ̄). Long answers weigh no more than short ones; β is larger than in DPO (Tülu 3: 5).
"""

from torch import Tensor
from torch.nn.functional import logsigmoid

from tunesmith.objectives.pair_losses.base import PairLoss, PairSums, pair_losses
from tunesmith.objectives.statistics import Statistics


@pair_losses.register("sigmoid_norm")
class SigmoidNormLoss(PairLoss):
    """DPO on the log-ratios of a token."""

    def losses(self, pairs: PairSums, statistics: Statistics) -> Tensor:
        """Give the loss of each pair."""
        return -logsigmoid(self.settings.beta * pairs.mean_delta_P)

    def rewards(self, pairs: PairSums) -> tuple[Tensor, Tensor]:
        """Give the rewards of a token: the loss compares those."""
        return self.settings.beta * pairs.mean_chosen_P, self.settings.beta * pairs.mean_rejected_P
