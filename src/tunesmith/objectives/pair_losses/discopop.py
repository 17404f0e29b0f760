# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""DiscoPOP, a loss found by search with a language model, arXiv 2406.08414, equation 5.

Loss: (1 - m) · -log σ(βΔ) + m · exp(-βΔ) with m = σ(βΔ / τ), τ = `discopop_tau`.
"""

from torch import Tensor
from torch.nn.functional import logsigmoid

from tunesmith.objectives.pair_losses.base import PairLoss, PairSums, pair_losses
from tunesmith.objectives.statistics import Statistics


@pair_losses.register("discopop")
class DiscopopLoss(PairLoss):
    """A blend of the logistic and the exponential loss."""

    def losses(self, pairs: PairSums, statistics: Statistics) -> Tensor:
        """Give the loss of each pair."""
        logits_P = self.settings.beta * pairs.delta_P
        share_P = (logits_P / self.settings.discopop_tau).sigmoid()
        return (1 - share_P) * -logsigmoid(logits_P) + share_P * (-logits_P).exp()
