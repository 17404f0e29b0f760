# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Reward models from pairs: Bradley-Terry (arXiv 1706.03741, 2203.02155), with a margin (arXiv 2307.09288).

Loss of a pair: -log σ(r_c - r_r - m) + `center_rewards_coefficient` · (r_c + r_r)² (arXiv 2312.09244), r the scalar
head's value at an answer's last token, m `rm_margin` times the row's margin (0 where it has none); averaged over the
pairs of the whole optimizer step. Each rejected answer to a prompt makes a pair of its own.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from tunesmith.config.section import Section
from tunesmith.core.types import Batch, LossOutput, RowKind, Scores
from tunesmith.objectives.base import Head, Objective, Unit, objectives
from tunesmith.objectives.dpo import wins
from tunesmith.objectives.pair_sums import count_pairs, pairs_of
from tunesmith.objectives.statistics import Statistics


class RmParams(Section):
    """Keys of training a reward model."""

    section: ClassVar[str] = "rm"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"stage": ("rm",)}

    center_rewards_coefficient: float = Field(
        0.0, ge=0.0, description="Weight of the squared sum of a pair's rewards, which holds their mean at 0."
    )
    rm_margin: float = Field(1.0, ge=0.0, description="Scale of the column margin of pairs; 0 leaves it out.")


@objectives.register("rm")
class RewardModelling(Objective):
    """Bradley-Terry over pairs of a chosen and a rejected answer."""

    Params: ClassVar[type[Section]] = RmParams
    row_kind: ClassVar[RowKind] = "preference"
    unit: ClassVar[Unit] = "pair"
    head: ClassVar[Head] = "scalar"
    metric_names: ClassVar[tuple[str, ...]] = ("rewards/accuracies", "rewards/margins")

    def __init__(self, params: Section) -> None:
        super().__init__(params)
        assert isinstance(params, RmParams)
        self._keys = params

    def units(self, batch: Batch) -> float:
        """Count the pairs."""
        return float(count_pairs(batch))

    def loss(
        self, batch: Batch, policy: Scores, reference: Scores | None = None, statistics: Statistics | None = None
    ) -> LossOutput:
        """Sum the losses of the pairs; metrics of rewards and how often the chosen answer has the greater one."""
        assert policy.values_S is not None, "this loss needs values of a scalar head"
        pairs = pairs_of(batch)
        chosen_P, rejected_P = policy.values_S[pairs.chosen_P], policy.values_S[pairs.rejected_P]
        losses_P = -functional.logsigmoid(chosen_P - rejected_P - self._margins(batch, pairs.rejected_P))
        if self._keys.center_rewards_coefficient:
            losses_P = losses_P + self._keys.center_rewards_coefficient * (chosen_P + rejected_P).square()
        return LossOutput(loss=losses_P.sum(), metrics=_metrics(chosen_P.detach(), rejected_P.detach()))

    def _margins(self, batch: Batch, rejected_P: Tensor) -> Tensor:
        rows_P = batch.segment_row_S[rejected_P]
        if batch.labels is None or not self._keys.rm_margin:
            return torch.zeros(len(rows_P), device=rows_P.device)
        return self._keys.rm_margin * batch.labels[rows_P].nan_to_num(nan=0.0)


def _metrics(chosen_P: Tensor, rejected_P: Tensor) -> dict[str, tuple[Tensor | float, Tensor | float]]:
    values = {
        "rewards/chosen": chosen_P,
        "rewards/rejected": rejected_P,
        "rewards/margins": chosen_P - rejected_P,
        "rewards/accuracies": wins(chosen_P, rejected_P),
    }
    return {name: (values_P.sum(), len(chosen_P)) for name, values_P in values.items()}
