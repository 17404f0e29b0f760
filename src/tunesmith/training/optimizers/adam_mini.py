# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Adam-mini: AdamW with one second moment for each block of numbers that the Hessian treats alike (arXiv 2406.16793).

Blocks: a head of query and key, an output neuron of other matrices, a token of embedding and head, a whole vector.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import TrainingArguments

from tunesmith.config.section import Section
from tunesmith.models.anatomy import base_model
from tunesmith.models.tuners.base import trained_parameters
from tunesmith.training.optimizers.base import OptimizerPart, adam_settings, decayed_names, optimizers

_BY_HEAD = ("q_proj", "k_proj", "qkv_proj", "query", "key", "query_key_value")


class AdamMiniSwitch(Section):
    """Keys of optimizers that are chosen by a key of their own."""

    section: ClassVar[str] = "optimizers"

    use_adam_mini: bool = Field(False, description="Adam-mini: AdamW with one second moment for a block of numbers.")


class AdamMiniParams(Section):
    """Keys of optimizers that are chosen by a key of their own."""

    section: ClassVar[str] = "optimizers"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"use_adam_mini": ("true",)}


@optimizers.register("use_adam_mini")
class AdamMini(OptimizerPart):
    """AdamW with few second moments."""

    Switch: ClassVar[type[Section]] = AdamMiniSwitch
    Params: ClassVar[type[Section]] = AdamMiniParams
    finetuning_types: ClassVar[tuple[str, ...] | None] = ("full", "freeze")

    def build(self, model: nn.Module, args: TrainingArguments) -> torch.optim.Optimizer:
        """Group the trained weights by decay and by the rows that one block takes."""
        config: Any = base_model(model).config.get_text_config()
        heads = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        decayed = decayed_names(model)
        groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
        for name, parameter in trained_parameters(model):
            key = (_block_rows(name, parameter, heads), name in decayed)
            groups.setdefault(key, []).append(parameter)
        return BlockAdamW(
            [
                {"params": weights, "block_rows": rows, "weight_decay": args.weight_decay if decays else 0.0}
                for (rows, decays), weights in groups.items()
            ],
            **adam_settings(args),
        )


def _block_rows(name: str, parameter: Tensor, head_rows: int) -> int:
    """Say how many rows share one second moment; 0: the whole weight."""
    if parameter.ndim < 2:
        return 0
    is_by_head = name.split(".")[-2] in _BY_HEAD and parameter.shape[0] % head_rows == 0
    return head_rows if is_by_head else 1


class BlockAdamW(torch.optim.Optimizer):
    """AdamW whose second moment is the mean over blocks of `block_rows` rows."""

    def __init__(self, groups: Sequence[dict[str, Any]], **settings: Any) -> None:
        super().__init__(groups, {"weight_decay": 0.0, **settings})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Take one step."""
        assert closure is None, "no closure is used here"
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step_one(parameter, group)

    def _step_one(self, parameter: Tensor, group: dict[str, Any]) -> None:
        assert parameter.grad is not None
        state, grad = self.state[parameter], parameter.grad
        rows = group["block_rows"]
        blocks = (1, -1) if rows == 0 else (grad.numel() // (rows * grad.shape[-1]), -1)
        squares = grad.float().square().reshape(blocks).mean(dim=1)
        if "step" not in state:
            state["step"] = 0
            state["exp_avg"], state["block_sq"] = torch.zeros_like(grad), torch.zeros_like(squares)
        state["step"] += 1
        beta1, beta2 = group["betas"]
        state["exp_avg"].lerp_(grad, 1 - beta1)
        state["block_sq"].lerp_(squares, 1 - beta2)
        scale = (state["block_sq"] / (1 - beta2 ** state["step"])).sqrt_().add_(group["eps"])
        update = state["exp_avg"].reshape(blocks) / scale[:, None].to(grad.dtype)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update.reshape(grad.shape), alpha=-group["lr"] / (1 - beta1 ** state["step"]))
