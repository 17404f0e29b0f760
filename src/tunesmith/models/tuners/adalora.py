# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""AdaLoRA: low-rank additions P·Λ·Q whose ranks are taken from layers that need few (arXiv 2303.10512), through PEFT.

After every step the importance of each rank is updated and the least important ones are set to zero, down to
`adalora_target_r` on average. PEFT adds the orthogonality term inside a forward that our scorer does not use, so it is
computed here; and it keeps importance outside the weights, so a checkpoint stores it as the tuner's running state.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from peft import AdaLoraConfig, PeftConfig, PeftModel
from pydantic import Field, model_validator
from torch import Tensor, nn
from transformers import PreTrainedModel

from tunesmith.config.section import Section
from tunesmith.core.errors import refusal
from tunesmith.models.adapter_tuner import LayerTuner
from tunesmith.models.tuners.base import trained_parameters, tuners

_IMPORTANCE = ("ipt", "exp_avg_ipt", "exp_avg_unc")
_KEPT = "kept_ranks"
# PEFT asks for the number of steps when the adapter is made; the trainer tells the true one with the first step.
_UNKNOWN_STEPS = 2**31


class AdaLoraParams(Section):
    """Keys of finetuning_type adalora."""

    section: ClassVar[str] = "adalora"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"finetuning_type": ("adalora",)}

    adalora_target_r: int = Field(8, ge=1, description="Rank of a layer that is left in the end, on average.")
    adalora_init_r: int = Field(12, ge=1, description="Rank of every layer at the start.")
    adalora_alpha: int = Field(32, ge=1, description="Scale of the addition.")
    adalora_dropout: float = Field(0.0, ge=0.0, lt=1.0, description="Dropout before the added matrices.")
    adalora_tinit: int = Field(0, ge=0, description="Steps at the start in which all ranks stay.")
    adalora_tfinal: int = Field(0, ge=0, description="Steps at the end in which the ranks left stay as they are.")
    adalora_deltaT: int = Field(1, ge=1, description="Number of steps between two choices of ranks.")
    adalora_beta1: float = Field(0.85, gt=0.0, lt=1.0, description="Smoothing of the importance of ranks.")
    adalora_beta2: float = Field(0.85, gt=0.0, lt=1.0, description="Smoothing of its uncertainty.")
    adalora_orth_reg_weight: float = Field(0.5, ge=0.0, description="Weight of the term that keeps P and Q orthogonal.")
    adalora_target: tuple[str, ...] = Field(
        ("all",), description="Modules to adapt: all linear layers, names such as q_proj, or a regular expression."
    )

    @model_validator(mode="after")
    def _ranks_shrink(self) -> "AdaLoraParams":
        if self.adalora_target_r > self.adalora_init_r:
            raise ValueError("adalora_target_r must not exceed adalora_init_r, because ranks are only taken away")
        return self


@tuners.register("adalora")
class AdaLoraTuner(LayerTuner):
    """Trains low-rank additions and their ranks; the base model stays as it is."""

    Params: ClassVar[type[Section]] = AdaLoraParams
    config_type: ClassVar[type[PeftConfig]] = AdaLoraConfig
    saved_as: ClassVar[Mapping[str, str]] = {
        "adalora_target_r": "target_r",
        "adalora_init_r": "init_r",
        "adalora_alpha": "lora_alpha",
        "adalora_dropout": "lora_dropout",
        "adalora_tinit": "tinit",
        "adalora_tfinal": "tfinal",
        "adalora_deltaT": "deltaT",
        "adalora_beta1": "beta1",
        "adalora_beta2": "beta2",
        "adalora_orth_reg_weight": "orth_reg_weight",
        "adalora_target": "target_modules",
    }
    fixed: ClassVar[Mapping[str, Any]] = {"total_step": _UNKNOWN_STEPS}

    def configure(self, model: PreTrainedModel) -> PeftConfig:
        """Leave the steps out of PEFT's check at the start: the run's number of steps is not known yet."""
        config = super().configure(model)
        self._kept: dict[str, list[bool]] = {}
        return config

    def penalty(self, model: nn.Module) -> Tensor | float:
        """Give the weighted mean distance of P's columns and Q's rows from an orthonormal set (the paper's eq. 4)."""
        weight = float(_config(model).orth_reg_weight)
        if weight == 0:
            return 0.0
        with torch.autocast(next(model.parameters()).device.type, enabled=False):
            gaps = [
                _gap(parameter if ".lora_A." in name else parameter.T)
                for name, parameter in trained_parameters(model)
                if ".lora_A." in name or ".lora_B." in name
            ]
        return weight * torch.stack(gaps).mean()

    def after_step(self, model: nn.Module, *, step: int, num_steps: int) -> None:
        """Update importance and take ranks away, as the schedule says for this step."""
        config, inner = _config(model), _inner(model)
        if config.tinit + config.tfinal >= num_steps:
            raise refusal(
                "tuner.schedule_impossible",
                f"adalora_tinit {config.tinit} and adalora_tfinal {config.tfinal} leave none of the run's {num_steps} "
                "steps for choosing ranks.",
                "Lower them, or train longer.",
                key="adalora_tinit",
            )
        config.total_step, config.rank_pattern = num_steps, self._kept or None
        inner.update_and_allocate(step)
        # PEFT would store only the ranks kept, and build another shape from the saved pattern.
        self._kept, config.rank_pattern, config.total_step = config.rank_pattern or {}, None, _UNKNOWN_STEPS

    def running_state(self, model: nn.Module) -> dict[str, Tensor]:
        """Give the importance of all weights and the ranks kept."""
        allocator = _inner(model).rankallocator
        state = {f"{kind}|{name}": value for kind in _IMPORTANCE for name, value in getattr(allocator, kind).items()}
        return state | {f"{_KEPT}|{name}": torch.tensor(kept) for name, kept in self._kept.items()}

    def restore_running(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Take importance and kept ranks back."""
        allocator, device = _inner(model).rankallocator, next(model.parameters()).device
        self._kept = {}
        for kind in _IMPORTANCE:
            getattr(allocator, kind).clear()
        for key, value in state.items():
            kind, _, name = key.partition("|")
            if kind == _KEPT:
                self._kept[name] = value.tolist()
            else:
                getattr(allocator, kind)[name] = value.to(device)


def _gap(rows_RD: Tensor) -> Tensor:
    rows_RD = rows_RD.float()
    gap: Tensor = (rows_RD @ rows_RD.T - torch.eye(len(rows_RD), device=rows_RD.device)).norm()
    return gap


def _inner(model: nn.Module) -> Any:
    assert isinstance(model, PeftModel)
    return model.base_model


def _config(model: nn.Module) -> Any:
    assert isinstance(model, PeftModel)
    return model.active_peft_config
