# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Stepping inside the backward pass: each weight is stepped as soon as its gradient is complete, which is then let go.

No more than a few gradients exist at once. What needs all gradients together (clipping, accumulation, scaling) is off.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import TrainingArguments

from tunesmith.core.errors import refusal, warning
from tunesmith.core.report import emit_warning


class StepsOne(Protocol):
    """An optimizer that can step a single weight; `param_groups` are torch's."""

    param_groups: list[dict[str, Any]]

    def step_one(self, parameter: Tensor, group: dict[str, Any], *, number: int) -> None:
        """Step the weight that is `number` in the order of the groups."""


def refuse_accumulation(key: str, flat: Mapping[str, Any]) -> None:
    """Refuse settings under which a gradient is not complete, or not its own size, after one backward pass."""
    if flat["gradient_accumulation_steps"] > 1:
        raise _refused(
            f"{key} steps each weight inside the backward pass, and with gradient_accumulation_steps "
            f"{flat['gradient_accumulation_steps']} a gradient is complete only after the last one: all of them would "
            "have to be kept, so nothing would be saved.",
            "Write gradient_accumulation_steps: 1 and a larger per_device_train_batch_size, or leave layer-wise out.",
        )
    if flat["fp16"]:
        raise _refused(
            f"{key} steps inside the backward pass, where fp16 gradients still carry their scale.", "Write bf16: true."
        )


def step_in_backward(optimizer: StepsOne, args: TrainingArguments, *, key: str) -> None:
    """Step every weight of an optimizer as its gradient comes, and forget the gradient."""
    if args.world_size > 1:
        raise _refused(
            f"{key} steps before the gradients of {args.world_size} processes are averaged.", "Train in one process."
        )
    if args.max_grad_norm > 0:
        emit_warning(
            warning(
                "training.clipping_impossible",
                f"{key} steps each weight before the other gradients exist, so they are not clipped to max_grad_norm "
                f"{args.max_grad_norm:g}, and no gradient norm is logged.",
                "Write max_grad_norm: 0 to say that this is meant.",
                key="max_grad_norm",
            )
        )
    number = 0
    for index, group in enumerate(optimizer.param_groups):
        for parameter in group["params"]:
            number += 1
            parameter.register_post_accumulate_grad_hook(_hook(optimizer, index, number))


def _hook(optimizer: StepsOne, index: int, number: int) -> Callable[[Tensor], None]:
    @torch.no_grad()
    def step(parameter: Tensor) -> None:
        optimizer.step_one(parameter, optimizer.param_groups[index], number=number)
        parameter.grad = None

    return step


def _refused(message: str, remedy: str) -> Exception:
    return refusal("config.keys_conflict", message, remedy)
