# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A step that is not finite is explained: which weight, module or gradient, and which rows."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from tests.unit.training.batches import make_batch
from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import Batch
from tunesmith.training.guard import Step, diagnose, non_finite_names, refuse_non_finite_weights


class Exploding(nn.Module):
    """Adds an infinity to what passes through, for batches of more than two rows."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Add infinity."""
        return values + (math.inf if len(values) > 2 else 0.0)


class Model(nn.Module):
    """Two linear layers around a module that may misbehave."""

    def __init__(self, middle: nn.Module) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(4, 4), middle, nn.Linear(4, 1)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Pass through."""
        out: torch.Tensor = self.last(self.middle(self.first(values)))
        return out


def loss_of(model: nn.Module) -> Callable[[Batch], torch.Tensor]:
    def loss(batch: Batch) -> torch.Tensor:
        out: torch.Tensor = model(torch.ones(len(batch.rows), 4)).sum()
        return out

    return loss


BATCHES = (make_batch([4, 4]), make_batch([4, 4, 4]))


def test_finite_tensors_pass_and_others_are_named() -> None:
    good, bad = torch.full((3,), 3e38), torch.tensor([1.0, math.nan])
    named = [("good", good), ("bad", bad), ("worse", -bad / 0), ("whole", torch.arange(3)), ("none", torch.zeros(0))]
    assert non_finite_names(named) == ["bad", "worse"]
    assert non_finite_names([]) == []


def test_a_nan_weight_is_named_with_step_and_rows() -> None:
    model = Model(nn.Identity())
    with torch.no_grad():
        model.last.weight[0, 2] = math.nan
    error = diagnose(model, Step(number=7, batches=BATCHES, losses=[math.nan, math.nan]), loss_of(model))
    (problem,) = error.problems
    assert problem.code == "training.loss_not_finite" and error.exit_code == 6
    assert "Step 7" in problem.message and "last.weight" in problem.message and "module last" in problem.message
    assert problem.where.rows == (0, 1) and problem.where.file == "made.jsonl"


def test_an_overflow_is_followed_to_its_module_and_batch() -> None:
    model = Model(Exploding())
    error = diagnose(model, Step(number=3, batches=BATCHES, losses=[0.5, math.inf]), loss_of(model))
    assert "non-finite output is middle" in str(error) and error.problems[0].where.num_rows == 3


def test_a_gradient_is_followed_to_its_tensor() -> None:
    model = Model(nn.Identity())

    def loss(batch: Batch) -> torch.Tensor:
        value = model(torch.ones(1, 4)).sum()
        return torch.sqrt(value - value.detach()) if len(batch.rows) > 2 else value

    error = diagnose(model, Step(number=5, batches=BATCHES, losses=[1.0, 0.0]), loss)
    assert error.problems[0].code == "training.gradient_not_finite"
    assert "nearest to the loss last." in str(error) and error.problems[0].where.num_rows == 3


def test_weights_are_refused_before_saving() -> None:
    model = Model(nn.Identity())
    step = Step(number=2, batches=BATCHES, losses=[])
    refuse_non_finite_weights(model, step)
    with torch.no_grad():
        model.first.bias[0] = math.inf
    with pytest.raises(TunesmithError, match=r"weight_not_finite: Step 2: .*first\.bias"):
        refuse_non_finite_weights(model, step)
    model.first.bias.requires_grad_(False)
    refuse_non_finite_weights(model, step)
