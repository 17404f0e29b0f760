# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Supervised fine-tuning: the likelihood of the answers, given the prompts, and variants that weigh its tokens.

Loss: the sum over the answers' tokens t of w_t · f_t · −log p(t | prompt, answer so far), averaged over Σ w_t of the
whole optimizer step; the tokens of prompts carry weight 0. f_t is 1; with `use_dft_loss` p_t without gradient (dynamic
fine-tuning, arXiv 2508.05629), with `focal_gamma` (1 - p_t)^γ with gradient (focal loss, arXiv 1708.02002).
"""

from typing import ClassVar, Self

from pydantic import Field, model_validator
from torch import Tensor

from tunesmith.config.section import Section
from tunesmith.core.types import Batch, LossOutput, RowKind, Scores
from tunesmith.objectives.base import objectives
from tunesmith.objectives.likelihood import Likelihood
from tunesmith.objectives.statistics import Statistics


class SftParams(Section):
    """Keys of stage sft."""

    section: ClassVar[str] = "sft"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"stage": ("sft",)}

    use_dft_loss: bool = Field(False, description="Weigh each token's loss by its probability (DFT).")
    focal_gamma: float = Field(0.0, ge=0.0, description="Weigh likely tokens less, by (1 - p) to this power.")

    @model_validator(mode="after")
    def _refuse_opposites(self) -> Self:
        if self.use_dft_loss and self.focal_gamma:
            raise ValueError("use_dft_loss weighs likely tokens more and focal_gamma less: keep one of them")
        return self


@objectives.register("sft")
class SupervisedFineTuning(Likelihood):
    """Weighted negative log-likelihood of the supervised tokens."""

    Params: ClassVar[type[Section]] = SftParams
    row_kind: ClassVar[RowKind] = "supervised"

    def __init__(self, params: Section) -> None:
        super().__init__(params)
        assert isinstance(params, SftParams)
        self._keys = params
        self.is_likelihood = not (params.use_dft_loss or params.focal_gamma)

    def loss(
        self, batch: Batch, policy: Scores, reference: Scores | None = None, statistics: Statistics | None = None
    ) -> LossOutput:
        """Sum the weighed losses of the tokens; the plain mean is a metric where the loss is a variant."""
        plain = super().loss(batch, policy)
        factors_N = self._factors(policy.logps_N)
        if factors_N is None:
            return plain
        weights_N = batch.target_weights_N.to(policy.logps_N.device)
        metrics = {**plain.metrics, "nll": (plain.loss.detach(), weights_N.sum())}
        return LossOutput(loss=-(weights_N * factors_N * policy.logps_N).sum(), metrics=metrics)

    def _factors(self, logps_N: Tensor) -> Tensor | None:
        if self._keys.use_dft_loss:
            return logps_N.detach().exp()
        if self._keys.focal_gamma:
            return (-logps_N.expm1()).clamp(min=1e-12) ** self._keys.focal_gamma
        return None
