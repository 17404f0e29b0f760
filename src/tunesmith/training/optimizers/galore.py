# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""GaLore: AdamW's moments are kept for a low-rank projection of each gradient, found by its SVD (arXiv 2403.03507)."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import TrainingArguments

from tunesmith.config.section import Section
from tunesmith.training.optimizers.backward_steps import refuse_accumulation, step_in_backward
from tunesmith.training.optimizers.base import OptimizerPart, optimizers
from tunesmith.training.optimizers.low_rank import project_back
from tunesmith.training.optimizers.projected_adam import Projected, ProjectedAdamW, projected_groups


class GaloreSwitch(Section):
    """Keys of optimizers that are chosen by a key of their own."""

    section: ClassVar[str] = "optimizers"

    use_galore: bool = Field(False, description="GaLore: AdamW in a low-rank space of the gradients.")


class GaloreParams(Section):
    """Keys of optimizers that are chosen by a key of their own."""

    section: ClassVar[str] = "optimizers"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"use_galore": ("true",)}

    galore_target: tuple[str, ...] = Field(("all",), description="GaLore: linear layers by name, or all.")
    galore_rank: int = Field(16, ge=1, description="GaLore: rank of the projection.")
    galore_update_interval: int = Field(200, ge=1, description="GaLore: steps between renewed projections.")
    galore_scale: float = Field(2.0, gt=0, description="GaLore: factor on each step of a projected weight.")
    galore_proj_type: Literal["std", "reverse_std", "right", "left", "full"] = Field(
        "std", description="GaLore: side of a matrix that is projected; std: the shorter one."
    )
    galore_layerwise: bool = Field(
        False, description="GaLore: step each weight inside the backward pass and drop its gradient."
    )


@optimizers.register("use_galore")
class Galore(OptimizerPart):
    """AdamW over projected gradients."""

    Switch: ClassVar[type[Section]] = GaloreSwitch
    Params: ClassVar[type[Section]] = GaloreParams
    finetuning_types: ClassVar[tuple[str, ...] | None] = ("full", "freeze")

    @classmethod
    def check(cls, flat: Mapping[str, Any]) -> None:
        """Refuse what layer-wise steps cannot do."""
        super().check(flat)
        if flat["galore_layerwise"]:
            refuse_accumulation("galore_layerwise", flat)

    @property
    def steps_in_backward(self) -> bool:
        """Say whether the steps are layer-wise."""
        assert isinstance(self.params, GaloreParams)
        return self.params.galore_layerwise

    def build(self, model: nn.Module, args: TrainingArguments) -> torch.optim.Optimizer:
        """Project the gradients of the target layers."""
        assert isinstance(self.params, GaloreParams)
        settings = {
            "rank": self.params.galore_rank,
            "update_proj_gap": self.params.galore_update_interval,
            "scale": self.params.galore_scale,
            "proj": "svd",
            "proj_type": self.params.galore_proj_type,
        }
        targets = self.params.galore_target
        groups, adam = projected_groups(model, args, key="galore_target", targets=targets, settings=settings)
        optimizer = ProjectedAdamW(groups, give_back=_give_back, **adam)
        if self.steps_in_backward:
            step_in_backward(optimizer, args, key="galore_layerwise")
        return optimizer


def _give_back(step: Projected, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    scale: float = group["scale"]
    return scale * project_back(step.normed, step.grad_IO, state, group)
