# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""AdamW over a share of the numbers of each matrix, drawn anew every so many steps; its state has the share's size."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tunesmith.training.optimizers.one_by_one import OneByOne


@dataclass(frozen=True, kw_only=True)
class Share:
    """Which numbers of a matrix are stepped: `ratio` of them, neighbours or scattered, for `interval` steps."""

    ratio: float
    is_adjacent: bool
    interval: int | None
    seed: int

    def draw(self, weight: Tensor, number: int, period: int) -> Tensor:
        """Give the positions in the flattened weight."""
        count = max(1, round(self.ratio * weight.numel()))
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * period + number)
        if self.is_adjacent:
            start = torch.randint(weight.numel(), (1,), generator=generator)
            return ((start + torch.arange(count)) % weight.numel()).to(weight.device)
        return torch.randperm(weight.numel(), generator=generator)[:count].to(weight.device)


class SparseAdamW(OneByOne):
    """Steps shares in groups marked `is_partial`, and whole weights in others."""

    def __init__(self, groups: Sequence[dict[str, Any]], *, share: Share, **settings: Any) -> None:
        super().__init__(groups, **settings)
        self._share = share

    def step_one(self, parameter: Tensor, group: dict[str, Any], *, number: int) -> None:
        """Step a weight, or its share of this period."""
        assert parameter.grad is not None
        state, interval = self.state[parameter], self._share.interval
        num_steps = state.get("num_steps", 0)
        state["num_steps"] = num_steps + 1
        within = num_steps if interval is None or not group["is_partial"] else num_steps % interval
        flat, grad = parameter.view(-1), parameter.grad.reshape(-1)
        places = None
        if group["is_partial"]:
            places = self._share.draw(parameter, number, 0 if interval is None else num_steps // interval)
            grad = grad[places]
        if within == 0:
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(grad), torch.zeros_like(grad)
        beta1, beta2 = group["betas"]
        state["exp_avg"].lerp_(grad, 1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        size = group["lr"] / (1 - beta1 ** (within + 1))
        scale = (state["exp_avg_sq"].sqrt() / (1 - beta2 ** (within + 1)) ** 0.5).add_(group["eps"])
        update = state["exp_avg"] / scale * -size
        if places is None:
            flat.mul_(1 - group["lr"] * group["weight_decay"]).add_(update)
        else:
            flat[places] = flat[places] * (1 - group["lr"] * group["weight_decay"]) + update
