# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Identity preference optimisation (IPO), arXiv 2310.12036, equation 17.

Loss: (Δ̄ - 1 / (2β))², Δ̄ from the log-ratios of a token, as its authors confirmed to have used. It does not run off to
infinity where preferences are certain.
"""

from torch import Tensor

from tunesmith.objectives.pair_losses.base import PairLoss, PairSums, pair_losses
from tunesmith.objectives.statistics import Statistics


@pair_losses.register("ipo")
class IpoLoss(PairLoss):
    """A squared distance to the wanted margin."""

    def losses(self, pairs: PairSums, statistics: Statistics) -> Tensor:
        """Give the loss of each pair."""
        return (pairs.mean_delta_P - 1 / (2 * self.settings.beta)).square()

    def rewards(self, pairs: PairSums) -> tuple[Tensor, Tensor]:
        """Give the rewards of a token: the loss compares those."""
        return self.settings.beta * pairs.mean_chosen_P, self.settings.beta * pairs.mean_rejected_P
