# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""States of optimizers, schedulers and generators come back from disk exactly, and nothing is pickled."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tunesmith.core.errors import TunesmithError
from tunesmith.training.random_state import capture_random_state, restore_random_state
from tunesmith.training.state_files import has_tree, load_tree, save_tree


def same(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        return isinstance(right, torch.Tensor) and left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, np.ndarray):
        return isinstance(right, np.ndarray) and left.dtype == right.dtype and np.array_equal(left, right)
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def test_a_tree_comes_back_exactly(tmp_path: Path) -> None:
    tree = {
        "state": {0: {"step": torch.tensor(3.0), "moment": torch.randn(2, 3).bfloat16()}, 7: {}},
        "tuple": (1, "two", None, (0.1, float("inf"))),
        "empty": torch.zeros(0),
        "dtype": torch.bfloat16,
        "array": np.arange(4, dtype=np.uint32),
        "$tensor": "a key that looks like a tag",
        "flags": [True, False, -1],
    }
    save_tree(tree, tmp_path, "state")
    assert same(tree, load_tree(tmp_path, "state"))
    assert has_tree(tmp_path, "state") and not has_tree(tmp_path, "other")


def test_a_value_without_a_safe_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TunesmithError, match=r"state_unsupported.*'optimizer\.hook'"):
        save_tree({"hook": object()}, tmp_path, "optimizer")


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(4, 8)).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("name", ["AdamW", "SGD", "Adafactor", "Adagrad", "RMSprop"])
def test_an_optimizer_goes_on_with_the_same_bytes(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Linear(8, 8)
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.1)
    train(model, optimizer, 3)
    save_tree(optimizer.state_dict(), tmp_path, "optimizer")
    save_tree(capture_random_state(), tmp_path, "random")
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    train(model, optimizer, 3)
    expected = model.weight.detach().clone()

    again = nn.Linear(8, 8)
    again.load_state_dict(weights)
    optimizer = getattr(torch.optim, name)(again.parameters(), lr=0.1)
    optimizer.load_state_dict(load_tree(tmp_path, "optimizer"))
    restore_random_state(load_tree(tmp_path, "random"))
    train(again, optimizer, 3)
    assert torch.equal(again.weight, expected)


def test_all_generators_are_restored(tmp_path: Path) -> None:
    save_tree(capture_random_state(), tmp_path, "random")
    drawn = (random.random(), np.random.rand(), torch.rand(2).tolist())
    restore_random_state(load_tree(tmp_path, "random"))
    assert drawn == (random.random(), np.random.rand(), torch.rand(2).tolist())
