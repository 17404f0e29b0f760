# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Binary classifier optimisation (BCO) on pairs, arXiv 2404.04656.

Loss: -log σ(βc - δ) - log σ(-(βr - δ)), δ the running mean of the rewards of all answers of the run so far. State that
outlives a step: the trainer keeps the sum and the count.
"""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from tunesmith.objectives.pair_losses.base import PairLoss, PairSums, pair_losses
from tunesmith.objectives.statistics import Statistics

_REWARD = "bco reward"


@pair_losses.register("bco")
class BcoLoss(PairLoss):
    """Chosen and rejected answers told apart by an offset."""

    is_plain_sum: ClassVar[bool] = False

    def losses(self, pairs: PairSums, statistics: Statistics) -> Tensor:
        """Give the loss of each pair."""
        offset = statistics.running_mean(_REWARD)
        return -logsigmoid(self.settings.beta * pairs.chosen_P - offset) - logsigmoid(
            offset - self.settings.beta * pairs.rejected_P
        )

    def step_statistics(self, pairs: PairSums) -> Statistics:
        """Sum the rewards of both answers."""
        total = self.settings.beta * (pairs.chosen_P + pairs.rejected_P).double().sum().item()
        return Statistics(running={_REWARD: (total, 2.0 * len(pairs.chosen_P))})
