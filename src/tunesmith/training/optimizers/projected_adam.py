# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""AdamW whose moments of chosen matrices live in a low-rank space; how a step returns from there is handed in."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainingArguments

from tunesmith.core.errors import refusal
from tunesmith.core.names import nearest
from tunesmith.models.targets import all_linear_names
from tunesmith.models.tuners.base import trained_parameters
from tunesmith.training.optimizers.base import adam_settings, decayed_names
from tunesmith.training.optimizers.low_rank import project
from tunesmith.training.optimizers.one_by_one import OneByOne


@dataclass(frozen=True, kw_only=True)
class Projected:
    """What came of one gradient: it, its low-rank form, and Adam's normalised step there."""

    grad_IO: Tensor
    low_rank: Tensor
    normed: Tensor


_EXPRESSION = re.compile(r"[\\^$*+?()\[\]{}|]")
Return = Callable[[Projected, dict[str, Any], dict[str, Any]], Tensor]


class ProjectedAdamW(OneByOne):
    """Steps groups that name a rank in a low-rank space, and the others as AdamW does."""

    def __init__(self, groups: Sequence[dict[str, Any]], *, give_back: Return, **settings: Any) -> None:
        super().__init__(groups, **settings)
        self._give_back = give_back

    def step_one(self, parameter: Tensor, group: dict[str, Any], *, number: int) -> None:
        """Step the weight that is `number` in the order of the groups; it seeds random projections."""
        assert parameter.grad is not None
        state, grad = self.state[parameter], parameter.grad
        state.setdefault("step", 0)
        state.setdefault("seed", number)
        has_rank = "rank" in group
        low_rank = project(grad, state, group) if has_rank else grad
        if "exp_avg" not in state:
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(low_rank), torch.zeros_like(low_rank)
        state["step"] += 1
        normed, size = _adam(low_rank, state, group)
        if has_rank:
            normed = self._give_back(Projected(grad_IO=grad, low_rank=low_rank, normed=normed), state, group)
        parameter.add_(normed, alpha=-size)
        if group["weight_decay"] > 0:
            parameter.mul_(1 - group["lr"] * group["weight_decay"])


def _adam(grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> tuple[Tensor, float]:
    """Give Adam's direction and the size of its step."""
    beta1, beta2 = group["betas"]
    state["exp_avg"].mul_(beta1).add_(grad, alpha=1 - beta1)
    state["exp_avg_sq"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    correction = (1 - beta2 ** state["step"]) ** 0.5 / (1 - beta1 ** state["step"])
    return state["exp_avg"] / (state["exp_avg_sq"].sqrt() + group["eps"]), group["lr"] * correction


def projected_groups(
    model: nn.Module, args: TrainingArguments, *, key: str, targets: Sequence[str], settings: dict[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Group the trained parameters: matrices of the target modules with the settings of their projection, the rest."""
    chosen = _target_weights(model, key, targets)
    decayed = decayed_names(model)
    projected: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    undecayed: list[nn.Parameter] = []
    for name, parameter in trained_parameters(model):
        if name in chosen:
            projected.append(parameter)
        else:
            (rest if name in decayed else undecayed).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": projected, "weight_decay": args.weight_decay, **settings},
        {"params": rest, "weight_decay": args.weight_decay},
        {"params": undecayed, "weight_decay": 0.0},
    ]
    return groups, adam_settings(args)


def _names(target: str, module: str) -> bool:
    """Say whether a target names a module: a part of its path, or an expression for all of it."""
    return target in module or (_EXPRESSION.search(target) is not None and re.fullmatch(target, module) is not None)


def _target_weights(model: nn.Module, key: str, targets: Sequence[str]) -> set[str]:
    """Name the trained weight matrices of linear layers whose path holds one of the targets."""
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    ends = all_linear_names(model)
    wanted = ends if list(targets) in (["all"], ["all-linear"], ["all_linear"]) else targets
    for target in wanted:
        if not any(_names(target, name) for name in linear):
            raise refusal(
                "tuner.target_unknown",
                f"{key} {target!r} matches no linear layer of this model.",
                f"Write all, or choose among: {', '.join(ends)}." + nearest(target, ends),
                key=key,
            )
    trained = {name for name, _ in trained_parameters(model)}
    chosen = {f"{name}.weight" for name in linear if any(_names(target, name) for target in wanted)} & trained
    if not chosen:
        raise refusal(
            "tuner.target_unknown",
            f"{key} {', '.join(targets)} names no weight that is trained.",
            "Name layers that are trained, or leave the optimizer out.",
            key=key,
        )
    return chosen
