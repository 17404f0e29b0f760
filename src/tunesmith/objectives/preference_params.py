# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The keys of training on preferences, with the rules between them."""

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from tunesmith.config.section import Section
from tunesmith.objectives.pair_losses.base import PairLoss, PairSettings, pair_losses

Weight = Annotated[float, Field(ge=0.0)]


class StrengthParams(Section):
    """Keys that training on pairs and on feedback share."""

    section: ClassVar[str] = "preference"

    pref_beta: float = Field(0.1, gt=0.0, description="How strongly the policy is held at the reference: β.")
    pref_ftx: float = Field(0.0, ge=0.0, description="Weight of the likelihood of the chosen answer, added.")
    ref_model: str | None = Field(
        None, description="Another model as reference: a folder, embedded name or hub id; unset: the policy's start."
    )
    ref_model_adapters: tuple[str, ...] = Field(
        (), description="Adapters merged into ref_model, or where that is unset into the model itself."
    )
    precompute_ref_log_probs: bool | None = Field(
        None, description="Score the reference once and keep it on disk; unset: where it is asked more than once a row."
    )


class PreferenceParams(StrengthParams):
    """Keys of training on preferences."""

    section: ClassVar[str] = "preference"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"stage": ("dpo",)}

    pref_loss: tuple[str, ...] = Field(("sigmoid",), description="Loss over pairs; several are added up.")
    pref_loss_weights: tuple[Weight, ...] | None = Field(
        None, description="Weight of each loss of pref_loss; unset: 1 each."
    )
    pref_bco_weight: float = Field(0.0, ge=0.0, description="Weight of the BCO loss, mixed with the others.")
    dpo_label_smoothing: float = Field(
        0.0, ge=0.0, lt=0.5, description="Share of pairs that may be swapped: losses sigmoid, robust, exo and aot."
    )
    simpo_gamma: float = Field(0.5, ge=0.0, description="Target margin of the rewards: loss simpo.")
    cpo_alpha: float = Field(1.0, ge=0.0, description="Weight of the likelihood of the chosen answer: loss cpo.")
    discopop_tau: float = Field(0.05, gt=0.0, description="Temperature of the blend: loss discopop.")
    ld_alpha: float | None = Field(
        None, ge=0.0, le=1.0, description="Weight of tokens beyond the shorter answer's length (LD-DPO); unset: 1."
    )
    reference_free: bool = Field(False, description="Take a reference that finds all answers equally likely.")

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Self:
        kinds = self.loss_kinds()
        if self.pref_loss_weights is not None and len(self.pref_loss_weights) != len(kinds):
            raise ValueError(f"pref_loss_weights has {len(self.pref_loss_weights)} weights for {len(kinds)} losses")
        if self.dpo_label_smoothing and not any(kind.is_smoothed for kind in kinds.values()):
            smoothed = [name for name, kind in pair_losses.items() if kind.is_smoothed]
            raise ValueError(f"dpo_label_smoothing has no effect on {', '.join(kinds)}, only on {', '.join(smoothed)}")
        self._refuse_idle_reference(kinds)
        return self

    def _refuse_idle_reference(self, kinds: dict[str, type[PairLoss]]) -> None:
        if not self.reference_free and (self.pref_bco_weight or any(kind.needs_reference for kind in kinds.values())):
            return
        why = "reference_free is true" if self.reference_free else f"{', '.join(kinds)} compare with no reference"
        idle = [key for key in ("ref_model", "ref_model_adapters", "precompute_ref_log_probs") if getattr(self, key)]
        if idle:
            raise ValueError(f"{', '.join(idle)} have no effect: {why}")

    def loss_kinds(self) -> dict[str, type[PairLoss]]:
        """Look up the losses, in the order given."""
        if len(set(self.pref_loss)) != len(self.pref_loss) or not self.pref_loss:
            raise ValueError("pref_loss names a loss twice, or none")
        return {name: pair_losses.get(name) for name in self.pref_loss}

    def settings(self) -> PairSettings:
        """Give the numbers that the losses read."""
        return PairSettings(
            beta=self.pref_beta,
            label_smoothing=self.dpo_label_smoothing,
            simpo_gamma=self.simpo_gamma,
            cpo_alpha=self.cpo_alpha,
            discopop_tau=self.discopop_tau,
        )
