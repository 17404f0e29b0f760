# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""LoRA+: the matrices that start at zero (B) learn faster than the others (A), by a fixed ratio (arXiv 2402.12354)."""

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import nn
from transformers import TrainingArguments

from tunesmith.config.section import Section
from tunesmith.models.tuners.base import trained_parameters
from tunesmith.training.optimizers.base import OptimizerPart, decayed_names, named_by_optim, optimizers


class LoraPlusSwitch(Section):
    """Keys of optimizers that are chosen by a key of their own."""

    section: ClassVar[str] = "optimizers"

    loraplus_lr_ratio: float | None = Field(
        None, gt=0, description="LoRA+: learning rate of B over that of A; 16 is the paper's advice."
    )


class LoraPlusParams(Section):
    """Keys of optimizers that are chosen by a key of their own."""

    section: ClassVar[str] = "optimizers"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"loraplus_lr_ratio": ("*",)}

    loraplus_lr_embedding: float = Field(1e-6, gt=0, description="LoRA+: learning rate of B of adapted embeddings.")


@optimizers.register("loraplus_lr_ratio")
class LoraPlus(OptimizerPart):
    """The optimizer that `optim` names, with learning rates of LoRA+."""

    Switch: ClassVar[type[Section]] = LoraPlusSwitch
    Params: ClassVar[type[Section]] = LoraPlusParams
    wraps_optim: ClassVar[bool] = True
    finetuning_types: ClassVar[tuple[str, ...] | None] = ("lora",)

    def build(self, model: nn.Module, args: TrainingArguments) -> torch.optim.Optimizer:
        """Group the parameters as LLaMA-Factory does: vectors learn as B does, without weight decay where usual."""
        assert isinstance(self.switch, LoraPlusSwitch) and isinstance(self.params, LoraPlusParams)
        assert self.switch.loraplus_lr_ratio is not None
        fast = args.learning_rate * self.switch.loraplus_lr_ratio
        decayed = decayed_names(model)
        groups: list[dict[str, Any]] = [
            {"params": [], "lr": args.learning_rate, "weight_decay": args.weight_decay},
            {"params": [], "lr": fast, "weight_decay": args.weight_decay},
            {"params": [], "lr": fast, "weight_decay": 0.0},
            {"params": [], "lr": self.params.loraplus_lr_embedding, "weight_decay": args.weight_decay},
        ]
        for name, parameter in trained_parameters(model):
            groups[_group_of(name, parameter, is_decayed=name in decayed)]["params"].append(parameter)
        return named_by_optim(groups, model, args)


def _group_of(name: str, parameter: nn.Parameter, *, is_decayed: bool) -> int:
    if "lora_embedding_B" in name:
        return 3
    if "lora_B" in name or parameter.ndim == 1:
        return 1 if is_decayed else 2
    return 0
