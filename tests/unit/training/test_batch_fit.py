# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Sizes keep the step's rows, the worst rows come first, and a pass that does not fit leaves no gradient behind."""

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.training.batches import make_store
from tests.unit.training.runs import tiny_model
from tunesmith.data.collate import collate
from tunesmith.objectives.base import objectives
from tunesmith.training.batch_fit import BatchSize, Trial, first_that_fits, row_sizes, token_sizes, worst_rows

LENGTHS = np.array([5, 30, 10, 20, 30, 1], dtype=np.int32)


@pytest.mark.parametrize(("rows", "passes"), [(8, 1), (4, 3), (1, 1), (7, 2)])
def test_every_size_has_the_rows_of_the_step(rows: int, passes: int) -> None:
    sizes = row_sizes(rows, passes)
    assert {(size.rows or 0) * size.passes for size in sizes} == {rows * passes}
    counts = [size.rows for size in sizes]
    assert counts[0] == rows * passes and counts[-1] == 1 and counts == sorted(counts, reverse=True)  # type: ignore[type-var]


def test_token_budgets_halve_down_to_a_whole_row() -> None:
    sizes = token_sizes(4096, 2, least=1000)
    assert [(size.tokens, size.passes) for size in sizes] == [(8192, 1), (4096, 2), (2048, 4), (1024, 8)]
    assert [size.tokens for size in token_sizes(512, 1, least=1000)] == [512]


@pytest.mark.parametrize(
    ("size", "pack", "layout", "rows"),
    [
        (BatchSize(rows=2), None, "packed", [1, 4]),
        (BatchSize(rows=9), None, "packed", [1, 4, 3, 2, 0, 5]),
        (BatchSize(tokens=80), None, "packed", [1, 4, 3]),
        (BatchSize(tokens=89), None, "padded", [1, 4]),
        (BatchSize(tokens=3), None, "packed", [1]),
        (BatchSize(rows=2), 40, "packed", [1, 4, 3]),
    ],
)
def test_the_longest_rows_come_first(size: BatchSize, pack: int | None, layout: Any, rows: list[int]) -> None:
    assert worst_rows(LENGTHS, size, pack_tokens=pack, layout=layout) == rows


def test_the_first_size_that_fits_is_taken_and_others_are_told() -> None:
    told: list[str] = []
    sizes = row_sizes(4, 1)
    assert first_that_fits(sizes, lambda size: (size.rows or 0) <= 2, tell=told.append) == BatchSize(rows=2, passes=2)
    assert told == ["4 rows × 1 pass: does not fit."]
    assert first_that_fits(sizes, lambda size: False, tell=told.append) is None


def test_a_pass_leaves_model_and_random_numbers_as_they_were() -> None:
    trial, batch = _trial()
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    assert trial.fits(batch)
    assert torch.equal(torch.rand(3), expected)
    assert not trial.model.training and all(weight.grad is None for weight in trial.model.parameters())


def test_a_failed_allocation_means_that_it_does_not_fit_and_other_errors_are_raised() -> None:
    trial, batch = _trial()
    layers: Any = trial.model.get_submodule("model.layers")
    message = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."

    def fail(gradient: torch.Tensor) -> None:
        raise RuntimeError(message)

    layers[0].mlp.down_proj.weight.register_hook(fail)
    assert not trial.fits(batch)
    assert all(weight.grad is None for weight in trial.model.parameters())
    message = "shapes do not match"
    with pytest.raises(RuntimeError, match="shapes"):
        trial.fits(batch)


def _trial() -> tuple[Trial, Any]:
    objective = objectives.get("sft")
    model = tiny_model().eval()
    trial = Trial(model=model, objective=objective(objective.Params()), formats=nullcontext, reserve_bytes=1000)
    store = make_store((12, 7, 20))
    return trial, collate([store[row] for row in range(3)], layout="packed", pad_id=0)
