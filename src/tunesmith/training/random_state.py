# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The states of all random generators that training draws from, as one tree of plain values and tensors."""

import random
from typing import Any

import numpy as np
import torch


def capture_random_state() -> dict[str, Any]:
    """Read the generators of Python, NumPy, torch and, where there is one, the accelerator."""
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=False),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Set all generators to a captured state."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


def collect_random_states(world_size: int) -> list[Any]:
    """Collect the random states of all ranks."""
    state = capture_random_state()
    if world_size == 1:
        return [state]
    states: list[Any] = [None] * world_size
    torch.distributed.all_gather_object(states, state)
    return states
