# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""LOMO: gradient descent inside the backward pass, without any state (arXiv 2306.09782)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainingArguments

from tunesmith.models.tuners.base import trained_parameters
from tunesmith.training.optimizers.backward_steps import step_in_backward
from tunesmith.training.optimizers.base import decayed_names


class Lomo(torch.optim.Optimizer):
    """Plain gradient descent with decoupled weight decay, one weight at a time."""

    def __init__(self, groups: Sequence[dict[str, Any]], *, lr: float) -> None:
        super().__init__([group for group in groups if group["params"]], {"lr": lr, "weight_decay": 0.0})

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Do nothing: the backward pass has stepped."""

    def step_one(self, parameter: Tensor, group: dict[str, Any], *, number: int) -> None:
        """Take one step with one weight."""
        assert parameter.grad is not None
        if group["weight_decay"] > 0:
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(parameter.grad, alpha=-group["lr"])


def build_lomo(model: nn.Module, args: TrainingArguments) -> torch.optim.Optimizer:
    """Make LOMO over the trained weights."""
    decayed = decayed_names(model)
    groups: list[dict[str, Any]] = [
        {"params": [], "weight_decay": args.weight_decay},
        {"params": [], "weight_decay": 0.0},
    ]
    for name, parameter in trained_parameters(model):
        groups[0 if name in decayed else 1]["params"].append(parameter)
    optimizer = Lomo(groups, lr=args.learning_rate)
    step_in_backward(optimizer, args, key="optim: lomo")
    return optimizer
