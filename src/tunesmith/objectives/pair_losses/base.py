# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The contract of a loss over pairs: a pure function of the log-probs of chosen and rejected answers.

Below, c and r are the log-ratios log π(y|x) - log π_ref(y|x) of the chosen and the rejected answer, Δ = c - r, and
β is `pref_beta`; a loss without a reference sees a reference of 0, so that c is the log-prob itself.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from tunesmith.core.registry import Registry
from tunesmith.objectives.statistics import Statistics


@dataclass(frozen=True, kw_only=True)
class PairSettings:
    """The numbers that losses over pairs read; the keys they come from have the same names."""

    beta: float = 0.1
    label_smoothing: float = 0.0
    simpo_gamma: float = 0.5
    cpo_alpha: float = 1.0
    discopop_tau: float = 0.05


@dataclass(frozen=True, kw_only=True)
class PairSums:
    """Log-probs of answers summed over their tokens, and how many tokens those are, of P pairs."""

    policy_chosen_P: Tensor
    policy_rejected_P: Tensor
    reference_chosen_P: Tensor
    reference_rejected_P: Tensor
    chosen_tokens_P: Tensor
    rejected_tokens_P: Tensor

    @property
    def chosen_P(self) -> Tensor:
        """Log-ratio of the chosen answer: c."""
        return self.policy_chosen_P - self.reference_chosen_P

    @property
    def rejected_P(self) -> Tensor:
        """Log-ratio of the rejected answer: r."""
        return self.policy_rejected_P - self.reference_rejected_P

    @property
    def delta_P(self) -> Tensor:
        """How much more the policy prefers the chosen answer than the reference does: Δ."""
        return self.chosen_P - self.rejected_P

    @property
    def mean_chosen_P(self) -> Tensor:
        """Log-ratio of a chosen token."""
        return self.chosen_P / self.chosen_tokens_P

    @property
    def mean_rejected_P(self) -> Tensor:
        """Log-ratio of a rejected token."""
        return self.rejected_P / self.rejected_tokens_P

    @property
    def mean_delta_P(self) -> Tensor:
        """Δ of the log-ratios of a token."""
        return self.mean_chosen_P - self.mean_rejected_P


class PairLoss(ABC):
    """One loss over pairs. Subclass, register with `@pair_losses.register("name")`.

    `is_smoothed` says that it reads `dpo_label_smoothing`, `is_plain_sum` that it has no `step_statistics`.
    """

    needs_reference: ClassVar[bool] = True
    is_plain_sum: ClassVar[bool] = True
    is_smoothed: ClassVar[bool] = False

    def __init__(self, settings: PairSettings) -> None:
        self.settings = settings

    @abstractmethod
    def losses(self, pairs: PairSums, statistics: Statistics) -> Tensor:
        """Give the loss of each pair."""

    def rewards(self, pairs: PairSums) -> tuple[Tensor, Tensor]:
        """Give the implicit rewards of the chosen and the rejected answers, for the metrics."""
        return self.settings.beta * pairs.chosen_P, self.settings.beta * pairs.rejected_P

    def step_statistics(self, pairs: PairSums) -> Statistics:
        """Give what `losses` must know of the whole step; pairs come without gradient."""
        return Statistics()


pair_losses: Registry[type[PairLoss]] = Registry(
    "preference loss", "tunesmith.objectives.pair_losses", code="config.pref_loss_unknown"
)
