# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Odds ratio preference optimisation (ORPO), arXiv 2403.07691, without a reference.

Loss: -l_c - β log σ(log odds_c - log odds_r) with odds = p / (1 - p) at p = e^l, l the mean log-prob of an answer's
tokens. Fine-tuning and preferences in one.
"""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from tunesmith.objectives.pair_losses.base import PairLoss, PairSums, pair_losses
from tunesmith.objectives.statistics import Statistics

_LEAST = 1e-6


@pair_losses.register("orpo")
class OrpoLoss(PairLoss):
    """Likelihood of the chosen answer and the odds ratio."""

    needs_reference: ClassVar[bool] = False

    def losses(self, pairs: PairSums, statistics: Statistics) -> Tensor:
        """Give the loss of each pair."""
        chosen_P, rejected_P = pairs.mean_chosen_P, pairs.mean_rejected_P
        odds_ratio_P = (chosen_P - rejected_P) - (_log_complement(chosen_P) - _log_complement(rejected_P))
        return -chosen_P - self.settings.beta * logsigmoid(odds_ratio_P)

    def rewards(self, pairs: PairSums) -> tuple[Tensor, Tensor]:
        """Give the rewards of a token: the loss compares those."""
        return self.settings.beta * pairs.mean_chosen_P, self.settings.beta * pairs.mean_rejected_P


def _log_complement(logp_P: Tensor) -> Tensor:
    """Give log(1 - e^l), kept finite where an answer is certain."""
    return torch.log(-torch.expm1(logp_P.clamp(max=-_LEAST)))
