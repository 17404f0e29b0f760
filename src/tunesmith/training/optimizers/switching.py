# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""AdamW whose turn goes round: in each period some weights are trained; the others are frozen and keep no state."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import TrainingArguments

from tunesmith.core.errors import refusal
from tunesmith.models.anatomy import decoder_layers
from tunesmith.models.tuners.base import trained_parameters
from tunesmith.training.optimizers.base import adam_settings, decayed_names


@dataclass(frozen=True, kw_only=True)
class Turns:
    """Which weights are trained: those of `choose(period)`, for `interval` steps; None: the first choice for ever."""

    choose: Callable[[int], list[nn.Parameter]]
    interval: int | None


class SwitchingAdamW(torch.optim.Optimizer):
    """Steps the weights whose turn it is; the state of a weight is dropped when its turn ends."""

    def __init__(self, groups: Sequence[dict[str, Any]], turns: Turns, **settings: Any) -> None:
        self._inner = torch.optim.AdamW([group for group in groups if group["params"]], **settings)
        self._turns, self._num_steps = turns, 0
        super().__init__(self._inner.param_groups, {})
        self.state = self._inner.state
        self._take_turns()

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Take one step, and change turns after the last of a period."""
        assert closure is None, "no closure is used here"
        self._inner.step()
        self._num_steps += 1
        if self._turns.interval is not None and self._num_steps % self._turns.interval == 0:
            self._take_turns()

    def _take_turns(self) -> None:
        period = 0 if self._turns.interval is None else self._num_steps // self._turns.interval
        active = {id(parameter) for parameter in self._turns.choose(period)}
        for group in self._inner.param_groups:
            for parameter in group["params"]:
                parameter.requires_grad_(id(parameter) in active)
                if id(parameter) not in active:
                    self._inner.state.pop(parameter, None)

    def state_dict(self) -> dict[str, Any]:
        """Give the state of the weights whose turn it is, and the number of steps."""
        return {"inner": self._inner.state_dict(), "num_steps": self._num_steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where a state was taken; the turns follow from the number of steps."""
        self._inner.load_state_dict(state_dict["inner"])
        self.param_groups, self.state = self._inner.param_groups, self._inner.state
        self._num_steps = state_dict["num_steps"]
        self._take_turns()


def switching_adamw(model: nn.Module, args: TrainingArguments, turns: Turns, *, key: str) -> SwitchingAdamW:
    """Build the optimizer over all trained weights of a model."""
    if args.world_size > 1:
        raise refusal(
            "config.keys_conflict",
            f"{key} freezes other weights every so many steps, which {args.world_size} processes cannot follow.",
            "Train in one process.",
            key=key,
        )
    decayed = decayed_names(model)
    groups: list[dict[str, Any]] = [
        {"params": [], "weight_decay": args.weight_decay},
        {"params": [], "weight_decay": 0.0},
    ]
    for name, parameter in trained_parameters(model):
        groups[0 if name in decayed else 1]["params"].append(parameter)
    return SwitchingAdamW(groups, turns, **adam_settings(args))


def layer_weights(model: nn.Module) -> list[list[nn.Parameter]]:
    """List the trained weights of each decoder layer."""
    _, layers = decoder_layers(model)
    return [[weight for weight in layer.parameters() if weight.requires_grad] for layer in layers]
