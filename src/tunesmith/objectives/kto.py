# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Kahneman-Tversky optimisation (KTO), arXiv 2402.01306: answers that are liked or not, without pairs.

Loss of a row, with x = log π(y|x) - log π_ref(y|x): w_c (1 - σ(βx - βK)) where it is liked, else w_r (1 - σ(βK - βx)),
K = max(0, mean log-ratio of answers under other rows' prompts) over the whole optimizer step, without gradient; where
liked, also - `pref_ftx` times the mean log-prob of the answer's tokens. Averaged over rows.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from tunesmith.config.section import Section
from tunesmith.core.types import Batch, LossOutput, RowKind, Scores
from tunesmith.objectives.base import Objective, Unit, objectives
from tunesmith.objectives.preference_params import StrengthParams
from tunesmith.objectives.statistics import Statistics

_ANSWER, _MISMATCHED = "answer", "mismatched"


class KtoParams(StrengthParams):
    """Keys of training on feedback."""

    section: ClassVar[str] = "kto"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"stage": ("kto",)}

    kto_chosen_weight: float = Field(1.0, ge=0.0, description="Weight of answers that are liked.")
    kto_rejected_weight: float = Field(1.0, ge=0.0, description="Weight of answers that are not liked.")


@objectives.register("kto")
class FeedbackOptimisation(Objective):
    """KTO on single answers with a label."""

    Params: ClassVar[type[Section]] = KtoParams
    row_kind: ClassVar[RowKind] = "feedback"
    unit: ClassVar[Unit] = "row"
    metric_names: ClassVar[tuple[str, ...]] = ("rewards/chosen", "rewards/rejected", "rewards/margins", "kl")
    needs_other_answers: ClassVar[bool] = True
    only_in_statistics: ClassVar[tuple[str, ...]] = (_MISMATCHED,)

    def __init__(self, params: Section) -> None:
        super().__init__(params)
        assert isinstance(params, KtoParams)
        self._keys = params

    @property
    def needs_reference(self) -> bool:
        """Say that the loss compares with the policy as it started."""
        return True

    @property
    def is_plain_sum(self) -> bool:
        """Say that the divergence is that of the whole step."""
        return False

    def units(self, batch: Batch) -> float:
        """Count the rows."""
        return float(len(batch.rows))

    def loss(
        self, batch: Batch, policy: Scores, reference: Scores | None = None, statistics: Statistics | None = None
    ) -> LossOutput:
        """Sum the losses of the rows; metrics of rewards, log-probs and the divergence."""
        assert reference is not None, "this loss needs the scores of the reference"
        beta, known = self._keys.pref_beta, Statistics() if statistics is None else statistics
        answers = _places(batch, _ANSWER)
        logps_S, ratios_S, counts_S = _sums(batch, policy, reference)
        is_liked = _labels(batch)[batch.segment_row_S[answers]] > 0.5
        divergence = max(0.0, known.mean(_MISMATCHED))
        gains = beta * (ratios_S[answers] - divergence)
        losses = torch.where(
            is_liked,
            self._keys.kto_chosen_weight * (1 - gains.sigmoid())
            - self._keys.pref_ftx * logps_S[answers] / counts_S[answers],
            self._keys.kto_rejected_weight * (1 - (-gains).sigmoid()),
        )
        rewards, logps = (beta * ratios_S[answers]).detach(), logps_S[answers].detach()
        metrics: dict[str, tuple[Tensor | float, Tensor | float]] = {}
        if _MISMATCHED in known.sums:  # one answer to another prompt a row, so the rows carry their mean
            metrics["kl"] = (known.mean(_MISMATCHED) * len(answers), len(answers))
        for name, values in (("rewards", rewards), ("logps", logps)):
            metrics[f"{name}/chosen"] = (values[is_liked].sum(), int(is_liked.sum()))
            metrics[f"{name}/rejected"] = (values[~is_liked].sum(), int((~is_liked).sum()))
        return LossOutput(loss=losses.sum(), metrics=metrics)

    def derived(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Give how far the mean reward of liked answers is above that of the others."""
        liked, other = metrics.get("rewards/chosen"), metrics.get("rewards/rejected")
        return {} if liked is None or other is None else {"rewards/margins": liked - other}

    def step_statistics(self, batch: Batch, policy: Scores, reference: Scores | None) -> Statistics:
        """Sum the log-ratios of the answers to other prompts."""
        assert reference is not None, "this loss needs the scores of the reference"
        with torch.no_grad():
            others = _places(batch, _MISMATCHED)
            _, ratios_S, _ = _sums(batch, policy, reference)
            return Statistics(sums={_MISMATCHED: (ratios_S[others].double().sum().item(), float(len(others)))})


def _places(batch: Batch, name: str) -> Tensor:
    places = [place for place, known in enumerate(batch.segment_names) if known == name]
    return torch.tensor(places, dtype=torch.long, device=batch.segment_row_S.device)


def _labels(batch: Batch) -> Tensor:
    return torch.zeros(len(batch.rows), device=batch.segment_row_S.device) if batch.labels is None else batch.labels


def _sums(batch: Batch, policy: Scores, reference: Scores) -> tuple[Tensor, Tensor, Tensor]:
    """Give the log-probs, the log-ratios and the token counts of the segments."""
    empty_S = policy.logps_N.detach().new_zeros(len(batch.segment_names))
    weights_N, segment_N = batch.target_weights_N.to(empty_S.dtype), batch.target_segment_N
    logps_S = empty_S.index_add(0, segment_N, weights_N * policy.logps_N)
    reference_S = empty_S.index_add(0, segment_N, weights_N * reference.logps_N.detach())
    return logps_S, logps_S - reference_S, empty_S.index_add(0, segment_N, torch.ones_like(weights_N)).clamp(min=1.0)
