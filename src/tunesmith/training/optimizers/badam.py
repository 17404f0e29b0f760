# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""BAdam: Adam over one block of weights after the other, or over a share of each weight (arXiv 2404.02827).

Embeddings, head and what else is outside the layers stay as they are, as in the authors' defaults.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn
from transformers import TrainingArguments

from tunesmith.config.section import Section
from tunesmith.core.errors import refusal
from tunesmith.core.progress import say
from tunesmith.training.optimizers.base import OptimizerPart, adam_settings, optimizers
from tunesmith.training.optimizers.sparse_adam import Share, SparseAdamW
from tunesmith.training.optimizers.switching import Turns, layer_weights, switching_adamw


class BadamSwitch(Section):
    """Keys of optimizers that are chosen by a key of their own."""

    section: ClassVar[str] = "optimizers"

    use_badam: bool = Field(False, description="BAdam: Adam over one layer after the other.")


class BadamParams(Section):
    """Keys of optimizers that are chosen by a key of their own."""

    section: ClassVar[str] = "optimizers"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"use_badam": ("true",)}

    badam_mode: Literal["layer", "ratio"] = Field(
        "layer", description="BAdam: whole layers, or a share of each weight."
    )
    badam_start_block: int | None = Field(None, ge=0, description="BAdam: first layer; unset: as the order begins.")
    badam_switch_mode: Literal["ascending", "descending", "random", "fixed"] = Field(
        "ascending", description="BAdam: order of the layers; fixed: the first one for ever."
    )
    badam_switch_interval: int = Field(50, ge=-1, description="BAdam: steps of one layer or share; -1: never another.")
    badam_update_ratio: float = Field(0.05, gt=0, le=1, description="BAdam: share of each weight in mode ratio.")
    badam_mask_mode: Literal["adjacent", "scatter"] = Field(
        "adjacent", description="BAdam: whether the numbers of a share are neighbours."
    )
    badam_verbose: Literal[0, 1, 2] = Field(0, description="BAdam: above 0 each new layer is said.")


@optimizers.register("use_badam")
class Badam(OptimizerPart):
    """Block coordinate descent with Adam."""

    Switch: ClassVar[type[Section]] = BadamSwitch
    Params: ClassVar[type[Section]] = BadamParams
    finetuning_types: ClassVar[tuple[str, ...] | None] = ("full",)

    @classmethod
    def check(cls, flat: Mapping[str, Any]) -> None:
        """Refuse an interval of no steps."""
        super().check(flat)
        if flat["badam_switch_interval"] == 0:
            raise refusal(
                "config.value_out_of_range", "badam_switch_interval is 0.", "Write a number of steps, or -1 for never.",
                key="badam_switch_interval",
            )  # fmt: skip

    def build(self, model: nn.Module, args: TrainingArguments) -> torch.optim.Optimizer:
        """Give the layers in their order, or shares of all their weights."""
        assert isinstance(self.params, BadamParams)
        layers = layer_weights(model)
        interval = self.params.badam_switch_interval if self.params.badam_switch_interval > 0 else None
        if self.params.badam_mode == "layer":
            is_fixed = self.params.badam_switch_mode == "fixed"
            turns = Turns(choose=self._order(layers, args.seed), interval=None if is_fixed else interval)
            return switching_adamw(model, args, turns, key="use_badam")
        share = Share(
            ratio=self.params.badam_update_ratio,
            is_adjacent=self.params.badam_mask_mode == "adjacent",
            interval=interval,
            seed=args.seed,
        )
        weights = [weight for layer in layers for weight in layer]
        inside = {id(weight) for weight in weights}
        for weight in model.parameters():
            weight.requires_grad_(id(weight) in inside and weight.requires_grad)
        matrices = [weight for weight in weights if weight.ndim > 1]
        vectors = [weight for weight in weights if weight.ndim == 1]
        groups = [
            {"params": matrices, "weight_decay": args.weight_decay, "is_partial": True},
            {"params": vectors, "weight_decay": 0.0, "is_partial": False},
        ]
        return SparseAdamW(groups, share=share, **adam_settings(args))

    def _order(self, layers: list[list[nn.Parameter]], seed: int) -> Any:
        assert isinstance(self.params, BadamParams)
        params, count = self.params, len(layers)
        first = self._first(count)

        def choose(period: int) -> list[nn.Parameter]:
            if params.badam_switch_mode == "random":
                generator = torch.Generator().manual_seed(seed + period // count)
                index = int(torch.randperm(count, generator=generator)[period % count])
                index = first if period == 0 and params.badam_start_block is not None else index
            else:
                index = (first + (-period if params.badam_switch_mode == "descending" else period)) % count
            if params.badam_verbose:
                say(f"BAdam trains layer {index}: {sum(weight.numel() for weight in layers[index]):,} weights.")
            return layers[index]

        return choose

    def _first(self, count: int) -> int:
        assert isinstance(self.params, BadamParams)
        start = self.params.badam_start_block
        if start is not None and start >= count:
            raise refusal(
                "config.value_out_of_range",
                f"badam_start_block {start} is no layer: the model has {count}, counted from 0.",
                f"Write at most {count - 1}.",
                key="badam_start_block",
            )
        return start if start is not None else (count - 1 if self.params.badam_switch_mode == "descending" else 0)
