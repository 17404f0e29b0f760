# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""APOLLO: each gradient is scaled by what AdamW would do to its low-rank, mostly random projection (arXiv 2412.05270).

The growth of a step's norm is limited to 1 % (as in Fira, arXiv 2410.01623).
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import TrainingArguments

from tunesmith.config.section import Section
from tunesmith.training.optimizers.backward_steps import refuse_accumulation, step_in_backward
from tunesmith.training.optimizers.base import OptimizerPart, optimizers
from tunesmith.training.optimizers.low_rank import projected_side
from tunesmith.training.optimizers.projected_adam import Projected, ProjectedAdamW, projected_groups

_MAX_GROWTH = 1.01


class ApolloSwitch(Section):
    """Keys of optimizers that are chosen by a key of their own."""

    section: ClassVar[str] = "optimizers"

    use_apollo: bool = Field(False, description="APOLLO: gradients scaled by AdamW of their projections.")


class ApolloParams(Section):
    """Keys of optimizers that are chosen by a key of their own."""

    section: ClassVar[str] = "optimizers"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"use_apollo": ("true",)}

    apollo_target: tuple[str, ...] = Field(("all",), description="APOLLO: linear layers by name, or all.")
    apollo_rank: int = Field(16, ge=1, description="APOLLO: rank of the projection.")
    apollo_update_interval: int = Field(200, ge=1, description="APOLLO: steps between renewed projections.")
    apollo_scale: float = Field(32.0, gt=0, description="APOLLO: steps are multiplied by the root of this.")
    apollo_proj: Literal["random", "svd"] = Field("random", description="APOLLO: how projections are found.")
    apollo_proj_type: Literal["std", "right", "left"] = Field(
        "std", description="APOLLO: side of a matrix that is projected; std: the shorter one."
    )
    apollo_scale_type: Literal["channel", "tensor"] = Field(
        "channel", description="APOLLO: one factor for each row or column, or one for a whole weight."
    )
    apollo_scale_front: bool = Field(False, description="APOLLO: scale before the growth of a step is limited.")
    apollo_layerwise: bool = Field(
        False, description="APOLLO: step each weight inside the backward pass and drop its gradient."
    )


@optimizers.register("use_apollo")
class Apollo(OptimizerPart):
    """Scaled gradients."""

    Switch: ClassVar[type[Section]] = ApolloSwitch
    Params: ClassVar[type[Section]] = ApolloParams
    finetuning_types: ClassVar[tuple[str, ...] | None] = ("full", "freeze")

    @classmethod
    def check(cls, flat: Mapping[str, Any]) -> None:
        """Refuse what layer-wise steps cannot do."""
        super().check(flat)
        if flat["apollo_layerwise"]:
            refuse_accumulation("apollo_layerwise", flat)

    @property
    def steps_in_backward(self) -> bool:
        """Say whether the steps are layer-wise."""
        assert isinstance(self.params, ApolloParams)
        return self.params.apollo_layerwise

    def build(self, model: nn.Module, args: TrainingArguments) -> torch.optim.Optimizer:
        """Scale the gradients of the target layers."""
        assert isinstance(self.params, ApolloParams)
        settings = {
            "rank": self.params.apollo_rank,
            "update_proj_gap": self.params.apollo_update_interval,
            "scale": self.params.apollo_scale,
            "proj": self.params.apollo_proj,
            "proj_type": self.params.apollo_proj_type,
            "scale_type": self.params.apollo_scale_type,
            "scale_front": self.params.apollo_scale_front,
        }
        targets = self.params.apollo_target
        groups, adam = projected_groups(model, args, key="apollo_target", targets=targets, settings=settings)
        optimizer = ProjectedAdamW(groups, give_back=_give_back, **adam)
        if self.steps_in_backward:
            step_in_backward(optimizer, args, key="apollo_layerwise")
        return optimizer


def _give_back(step: Projected, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    if group["scale_type"] == "channel":
        dim = 1 if projected_side(step.grad_IO, group["proj_type"]) == "right" else 0
        factor = step.normed.norm(dim=dim, keepdim=True) / (step.low_rank.norm(dim=dim, keepdim=True) + 1e-8)
    else:
        factor = step.normed.norm() / (step.low_rank.norm() + 1e-8)
    front, behind = group["scale"] ** 0.5, 1.0
    if not group["scale_front"]:
        front, behind = behind, front
    return behind * _limited(step.grad_IO * factor * front, state)


def _limited(scaled_IO: Tensor, state: dict[str, Any]) -> Tensor:
    norm = scaled_IO.norm()
    if "scaled_grad" in state:
        limiter = (norm / (state["scaled_grad"] + 1e-8)).clamp(min=_MAX_GROWTH) / _MAX_GROWTH
        scaled_IO, norm = scaled_IO / limiter, norm / limiter
    state["scaled_grad"] = norm
    return scaled_IO
