# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The frame of an optimizer of ours: weights are stepped one after another, each with its number in that order."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


class OneByOne(torch.optim.Optimizer):
    """Steps every weight that has a gradient; groups without weights are left out."""

    def __init__(self, groups: Sequence[dict[str, Any]], **settings: Any) -> None:
        super().__init__([group for group in groups if group["params"]], {"weight_decay": 0.0, **settings})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Take one step."""
        assert closure is None, "no closure is used here"
        number = 0
        for group in self.param_groups:
            for parameter in group["params"]:
                number += 1
                if parameter.grad is not None:
                    self.step_one(parameter, group, number=number)

    @abstractmethod
    def step_one(self, parameter: Tensor, group: dict[str, Any], *, number: int) -> None:
        """Step the weight that is `number` in the order of the groups; it seeds what is drawn at random."""
