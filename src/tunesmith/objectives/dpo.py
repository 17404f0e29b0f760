# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Training on pairs of a chosen and a rejected answer: the losses of `pair_losses/`, alone or in a weighted sum.

Loss of a pair: (Σ w_i L_i + w_bco L_bco) / (1 + w_bco) - `pref_ftx` · l_c, l_c the mean log-prob of the chosen answer's
tokens; averaged over the pairs of the whole optimizer step. Each rejected answer to a prompt makes a pair of its own.
"""

from typing import ClassVar

import torch
from torch import Tensor

from tunesmith.config.section import Section
from tunesmith.core.types import Batch, LossOutput, RowKind, Scores
from tunesmith.objectives.base import Objective, Unit, objectives
from tunesmith.objectives.pair_losses.base import PairLoss, PairSums, pair_losses
from tunesmith.objectives.pair_sums import count_pairs, sum_pairs
from tunesmith.objectives.preference_params import PreferenceParams
from tunesmith.objectives.statistics import Statistics, join_statistics

Metrics = dict[str, tuple[Tensor | float, Tensor | float]]


@objectives.register("dpo")
class PreferenceOptimisation(Objective):
    """The losses that `pref_loss` names, over pairs."""

    Params: ClassVar[type[Section]] = PreferenceParams
    row_kind: ClassVar[RowKind] = "preference"
    unit: ClassVar[Unit] = "pair"
    metric_names: ClassVar[tuple[str, ...]] = ("rewards/accuracies", "rewards/margins", "rewards/chosen")

    def __init__(self, params: Section) -> None:
        super().__init__(params)
        assert isinstance(params, PreferenceParams)
        kinds, settings = params.loss_kinds(), params.settings()
        self._keys = params
        self._losses: list[tuple[float, PairLoss]] = [
            (weight, kind(settings))
            for weight, kind in zip(params.pref_loss_weights or [1.0] * len(kinds), kinds.values(), strict=True)
        ]
        self._bco = pair_losses.get("bco")(settings) if params.pref_bco_weight else None

    @property
    def needs_reference(self) -> bool:
        """Say whether any of the losses compares with the policy as it started."""
        compares = self._bco is not None or any(loss.needs_reference for _, loss in self._losses)
        return compares and not self._keys.reference_free

    @property
    def is_plain_sum(self) -> bool:
        """Say whether none of the losses looks at other pairs of the step."""
        return self._bco is None and all(loss.is_plain_sum for _, loss in self._losses)

    def units(self, batch: Batch) -> float:
        """Count the pairs."""
        return float(count_pairs(batch))

    def loss(
        self, batch: Batch, policy: Scores, reference: Scores | None = None, statistics: Statistics | None = None
    ) -> LossOutput:
        """Sum the losses of the pairs; metrics of rewards and log-probs."""
        known = Statistics() if statistics is None else statistics
        pairs = self._pairs(batch, policy, reference)
        losses_P = self._mixed(pairs, known)
        if self._keys.pref_ftx:
            losses_P = losses_P - self._keys.pref_ftx * pairs.policy_chosen_P / pairs.chosen_tokens_P
        return LossOutput(loss=losses_P.sum(), metrics=self._metrics(pairs))

    def step_statistics(self, batch: Batch, policy: Scores, reference: Scores | None) -> Statistics:
        """Collect what those of the losses need that are no plain sums."""
        with torch.no_grad():
            pairs = self._pairs(batch, policy, reference)
            losses = [*(loss for _, loss in self._losses), *([self._bco] if self._bco is not None else [])]
            unique = {type(loss): loss for loss in losses}  # BCO may be named and mixed in
            return join_statistics(loss.step_statistics(_seen_by(loss, pairs)) for loss in unique.values())

    def _pairs(self, batch: Batch, policy: Scores, reference: Scores | None) -> PairSums:
        compared = reference if self.needs_reference else None
        assert compared is not None or not self.needs_reference, "this loss needs the scores of the reference"
        return sum_pairs(batch, policy, compared, ld_alpha=self._keys.ld_alpha)

    def _mixed(self, pairs: PairSums, statistics: Statistics) -> Tensor:
        losses_P = torch.zeros_like(pairs.policy_chosen_P)
        for weight, loss in self._losses:
            losses_P = losses_P + weight * loss.losses(_seen_by(loss, pairs), statistics)
        if self._bco is None:
            return losses_P
        weight = self._keys.pref_bco_weight
        return (losses_P + weight * self._bco.losses(pairs, statistics)) / (1 + weight)

    def _metrics(self, pairs: PairSums) -> Metrics:
        loss = self._losses[0][1]
        chosen_P, rejected_P = (rewards_P.detach() for rewards_P in loss.rewards(_seen_by(loss, pairs)))
        count = len(chosen_P)
        values = {
            "rewards/chosen": chosen_P,
            "rewards/rejected": rejected_P,
            "rewards/margins": chosen_P - rejected_P,
            "rewards/accuracies": wins(chosen_P, rejected_P),
            "rules/longer_wins": wins(pairs.chosen_tokens_P, pairs.rejected_tokens_P),
            "logps/chosen": pairs.policy_chosen_P.detach(),
            "logps/rejected": pairs.policy_rejected_P.detach(),
        }
        return {name: (values_P.sum(), count) for name, values_P in values.items()}


def wins(first_P: Tensor, second_P: Tensor) -> Tensor:
    """Give 1 where the first is greater, ½ where both are equal, else 0."""
    return (torch.sign(first_P - second_P) + 1) / 2


def _seen_by(loss: PairLoss, pairs: PairSums) -> PairSums:
    """Hide the reference from losses that take none, in a mix with others that do."""
    if loss.needs_reference:
        return pairs
    nothing_P = torch.zeros_like(pairs.reference_chosen_P)
    return PairSums(
        policy_chosen_P=pairs.policy_chosen_P,
        policy_rejected_P=pairs.policy_rejected_P,
        reference_chosen_P=nothing_P,
        reference_rejected_P=nothing_P,
        chosen_tokens_P=pairs.chosen_tokens_P,
        rejected_tokens_P=pairs.rejected_tokens_P,
    )
