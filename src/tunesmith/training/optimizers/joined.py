# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Several optimizers that step together as one, each over its own parameters."""

from collections.abc import Callable, Sequence
from typing import Any

import torch


class JoinedOptimizer(torch.optim.Optimizer):
    """Steps its parts in order; the parameter groups are the parts' own, so that schedules reach them."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self._parts = tuple(parts)
        super().__init__([group for part in parts for group in part.param_groups], {})

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Take one step with each part."""
        assert closure is None, "a closure would be evaluated once a part"
        for part in self._parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Give the states of all parts."""
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the states of all parts."""
        for part, state in zip(self._parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self._parts for group in part.param_groups]
