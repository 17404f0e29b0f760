# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Supervised fine-tuning: the likelihood of the answers, given the prompts, and variants that weigh its tokens.

Loss: the sum over the answers' tokens t of w_t · f_t · −log p(t | prompt, answer so far), averaged over Σ w_t of the
whole optimizer step; the tokens of prompts carry weight 0. f_t is 1, or by key:
`use_dft_loss`: p_t without gradient (dynamic fine-tuning, arXiv 2508.05629);
`use_eaft_loss`: (H_t / 3)^`eaft_alpha`, H_t the entropy among the 20 likeliest tokens, without gradient (arXiv
2601.02151); `focal_gamma`: (1 - p_t)^γ with gradient (focal loss, arXiv 1708.02002);
`use_asft_loss`: p_t without gradient, and added `asft_alpha` · KL(start ‖ policy) of each token's distribution, start
being the policy as it began (anchored fine-tuning, arXiv 2509.23753).
"""

from dataclasses import replace
from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from tunesmith.config.section import Section
from tunesmith.core.types import Batch, Detail, LossOutput, RowKind, Scores
from tunesmith.objectives.base import objectives
from tunesmith.objectives.likelihood import Likelihood, LikelihoodParams
from tunesmith.objectives.statistics import Statistics

# The entropy of 20 equally likely tokens is log 20, about 3.
_EAFT_SCALE = 3.0


class SftParams(LikelihoodParams):
    """Keys of stage sft."""

    section: ClassVar[str] = "sft"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"stage": ("sft",)}

    use_dft_loss: bool = Field(False, description="Weigh each token's loss by its probability (DFT).")
    use_eaft_loss: bool = Field(False, description="Weigh each token's loss by the entropy of its prediction (EAFT).")
    eaft_alpha: float = Field(1.0, ge=0.0, description="Power of the entropy: use_eaft_loss.")
    use_asft_loss: bool = Field(False, description="DFT held at the model as it started, by their divergence (ASFT).")
    asft_alpha: float = Field(0.1, ge=0.0, description="Weight of the divergence: use_asft_loss.")
    focal_gamma: float = Field(0.0, ge=0.0, description="Weigh likely tokens less, by (1 - p) to this power.")

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Self:
        keys = ("use_dft_loss", "use_eaft_loss", "use_asft_loss", "focal_gamma", "label_smoothing_factor")
        chosen = [key for key in keys if getattr(self, key)]
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)} change the loss of a token each in its own way: keep one of them")
        for key, switch in (("eaft_alpha", "use_eaft_loss"), ("asft_alpha", "use_asft_loss")):
            if getattr(self, key) != SftParams.model_fields[key].default and not getattr(self, switch):
                raise ValueError(f"{key} has no effect without {switch}: true")
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
        is_variant = params.use_dft_loss or params.use_eaft_loss or params.use_asft_loss or params.focal_gamma
        self.is_likelihood = self.is_likelihood and not is_variant

    @property
    def details(self) -> frozenset[Detail]:
        """Ask for entropies or for the divergence from the start."""
        wanted: set[Detail] = set(super().details)
        if self._keys.use_eaft_loss:
            wanted.add("top_entropy")
        if self._keys.use_asft_loss:
            wanted.add("divergence")
        return frozenset(wanted)

    def loss(
        self, batch: Batch, policy: Scores, reference: Scores | None = None, statistics: Statistics | None = None
    ) -> LossOutput:
        """Sum the weighed losses of the tokens; the divergence from the start is a metric."""
        output = super().loss(batch, policy)
        if policy.divergence_N is None:
            return output
        weights_N = batch.target_weights_N.to(policy.logps_N.device)
        kl = ((weights_N * policy.divergence_N.detach()).sum(), weights_N.sum())
        return replace(output, metrics={**output.metrics, "kl": kl})

    def token_losses(self, policy: Scores) -> Tensor:
        """Give the loss of each token as the variant weighs it."""
        keys, logps_N = self._keys, policy.logps_N
        if keys.use_asft_loss:
            assert policy.divergence_N is not None, "the objective asked for it"
            return -logps_N.detach().exp() * logps_N + keys.asft_alpha * policy.divergence_N
        if keys.use_dft_loss:
            return -logps_N.detach().exp() * logps_N
        if keys.use_eaft_loss:
            assert policy.top_entropy_N is not None, "the objective asked for it"
            return -((policy.top_entropy_N / _EAFT_SCALE) ** keys.eaft_alpha) * logps_N
        if keys.focal_gamma:
            return -((-torch.expm1(logps_N)).clamp(min=1e-12) ** keys.focal_gamma) * logps_N
        return super().token_losses(policy)

    def at_reference(self, batch: Batch, policy: Scores) -> LossOutput:
        """Give the loss without any divergence."""
        if policy.divergence_N is None:
            return super().at_reference(batch, policy)
        return self.loss(batch, replace(policy, divergence_N=torch.zeros_like(policy.divergence_N)))
