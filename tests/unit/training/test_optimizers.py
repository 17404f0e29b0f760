# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Steps of our optimizers against torch's AdamW where they must agree, and against the formula where not."""

from typing import Any

import pytest
import torch
from torch import nn

from tunesmith.training.optimizers.adam_mini import BlockAdamW
from tunesmith.training.optimizers.sparse_adam import Share, SparseAdamW
from tunesmith.training.optimizers.switching import SwitchingAdamW, Turns

SETTINGS: dict[str, Any] = {"lr": 0.01, "betas": (0.9, 0.99), "eps": 1e-8}


def weights() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((6, 4), (4, 6), (5,))]


def after_steps(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], *, steps: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    for _ in range(steps):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()
    return torch.cat([parameter.detach().flatten() for parameter in parameters])


def adamw_weights() -> torch.Tensor:
    parameters = weights()
    return after_steps(torch.optim.AdamW(parameters, weight_decay=0.1, **SETTINGS), parameters)


def test_a_share_of_one_is_adamw() -> None:
    parameters = weights()
    share = Share(ratio=1.0, is_adjacent=True, interval=None, seed=0)
    groups = [
        {"params": parameters[:2], "weight_decay": 0.1, "is_partial": True},
        {"params": parameters[2:], "weight_decay": 0.1, "is_partial": False},
    ]
    optimizer = SparseAdamW(groups, share=share, **SETTINGS)
    assert torch.allclose(after_steps(optimizer, parameters), adamw_weights(), atol=1e-6)


def test_taking_every_turn_is_adamw() -> None:
    parameters = weights()
    turns = Turns(choose=lambda period: parameters, interval=2)
    optimizer = SwitchingAdamW([{"params": parameters, "weight_decay": 0.1}], turns, **SETTINGS)
    assert torch.equal(after_steps(optimizer, parameters), adamw_weights())


def test_a_turn_that_ends_takes_its_state_along() -> None:
    parameters = weights()
    turns = Turns(choose=lambda period: [parameters[period % 2]], interval=2)
    optimizer = SwitchingAdamW([{"params": parameters, "weight_decay": 0.0}], turns, **SETTINGS)
    assert [parameter.requires_grad for parameter in parameters] == [True, False, False]
    for parameter in parameters[:1]:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert set(optimizer.state) == {parameters[0]}
    optimizer.step()
    assert not optimizer.state and [parameter.requires_grad for parameter in parameters] == [False, True, False]


@pytest.mark.parametrize("rows", [1, 2])
def test_blocks_share_the_mean_of_their_squares(rows: int) -> None:
    (parameter, *_), gradient = weights(), torch.randn(6, 4, generator=torch.Generator().manual_seed(3))
    before = parameter.detach().clone()
    optimizer = BlockAdamW([{"params": [parameter], "block_rows": rows, "weight_decay": 0.1}], **SETTINGS)
    parameter.grad = gradient
    optimizer.step()
    root = gradient.square().reshape(6 // rows, -1).mean(dim=1).sqrt().repeat_interleave(rows)[:, None]
    assert torch.allclose(parameter.detach(), before * (1 - 0.001) - 0.01 * gradient / root, atol=1e-6)
    assert optimizer.state[parameter]["block_sq"].numel() == 6 // rows


def test_blocks_of_one_number_are_adamw() -> None:
    """A column has one number in each row, so nothing is shared."""
    column, twin = nn.Parameter(torch.ones(7, 1)), nn.Parameter(torch.ones(7, 1))
    ours = BlockAdamW([{"params": [column], "block_rows": 1, "weight_decay": 0.1}], **SETTINGS)
    theirs = torch.optim.AdamW([twin], weight_decay=0.1, **SETTINGS)
    assert torch.allclose(after_steps(ours, [column]), after_steps(theirs, [twin]), atol=1e-6)
