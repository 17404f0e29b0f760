# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""LISA: embeddings and head are always trained, and a few layers, drawn anew now and then (arXiv 2403.17919)."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import nn
from transformers import TrainingArguments

from tunesmith.config.section import Section
from tunesmith.core.errors import refusal
from tunesmith.models.tuners.base import trained_parameters
from tunesmith.training.optimizers.base import OptimizerPart, optimizers
from tunesmith.training.optimizers.switching import Turns, layer_weights, switching_adamw


class LisaSwitch(Section):
    """Keys of optimizers that are chosen by a key of their own."""

    section: ClassVar[str] = "optimizers"

    lisa_activated_layers: int | None = Field(
        None, ge=0, description="LISA: layers trained at a time; unset or 0: no LISA. 2 is usual."
    )


class LisaParams(Section):
    """Keys of optimizers that are chosen by a key of their own."""

    section: ClassVar[str] = "optimizers"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"lisa_activated_layers": ("*",)}

    lisa_step_interval: int = Field(20, ge=1, description="LISA: steps between drawings of layers.")


@optimizers.register("lisa_activated_layers")
class Lisa(OptimizerPart):
    """AdamW over drawn layers."""

    Switch: ClassVar[type[Section]] = LisaSwitch
    Params: ClassVar[type[Section]] = LisaParams
    finetuning_types: ClassVar[tuple[str, ...] | None] = ("full",)

    def build(self, model: nn.Module, args: TrainingArguments) -> torch.optim.Optimizer:
        """Draw layers by the run's seed and the number of the period."""
        assert isinstance(self.switch, LisaSwitch) and isinstance(self.params, LisaParams)
        layers, count = layer_weights(model), self.switch.lisa_activated_layers or 0
        if count > len(layers):
            raise refusal(
                "config.value_out_of_range",
                f"lisa_activated_layers {count} is more than the model's {len(layers)} layers.",
                f"Write at most {len(layers)}.",
                key="lisa_activated_layers",
            )
        inside = {id(weight) for layer in layers for weight in layer}
        always = [weight for _, weight in trained_parameters(model) if id(weight) not in inside]

        def choose(period: int) -> list[nn.Parameter]:
            order = torch.randperm(len(layers), generator=torch.Generator().manual_seed(args.seed + period)).tolist()
            return [*always, *(weight for index in order[:count] for weight in layers[index])]

        turns = Turns(choose=choose, interval=self.params.lisa_step_interval)
        return switching_adamw(model, args, turns, key="lisa_activated_layers")
