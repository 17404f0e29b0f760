# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Reward modelling equals Bradley-Terry worked out in NumPy, its gradient central differences, and TRL's formula."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from tunesmith.core.types import NO_PARENT, Batch, RowRef, Scores, TokenRow
from tunesmith.data.collate import collate
from tunesmith.objectives.rm import RewardModelling, RmParams

Array = npt.NDArray[np.float64]
MARGINS = (0.5, None, 2.0, 0.0)
# Segments of the batch below: prompt, chosen, rejected of each row; the second row has two rejected answers.
CHOSEN, REJECTED = [1, 4, 4, 8, 11], [2, 5, 6, 9, 12]
PLAIN = RewardModelling(RmParams.model_validate({}))
OF_PAIRS = np.array([0.5, 0.0, 0.0, 2.0, 0.0])


def make_batch(*, margins: tuple[float | None, ...] = MARGINS) -> Batch:
    rows = []
    for number, margin in enumerate(margins):
        lengths = (3, 2, 4, 5) if number == 1 else (3, 2, 4)
        rows.append(
            TokenRow(
                source=RowRef(dataset="made", file="made.jsonl", row=number),
                input_ids=np.arange(sum(lengths), dtype=np.int32),
                weights=np.repeat([0.0, 1.0], [3, sum(lengths) - 3]).astype(np.float32),
                segment_lengths=lengths,
                segment_parents=(NO_PARENT, *(0,) * (len(lengths) - 1)),
                segment_names=("prompt", "chosen", *("rejected",) * (len(lengths) - 2)),
                label=margin,
            )
        )
    return collate(rows, layout="packed", pad_id=0)


def values(seed: int = 1) -> Tensor:
    return torch.tensor(np.random.default_rng(seed).normal(size=13) * 2, requires_grad=True)


def reference(values_S: Array, *, centring: float = 0.0, margin: float = 1.0) -> float:
    chosen, rejected = values_S[CHOSEN], values_S[REJECTED]
    losses = np.logaddexp(0.0, -(chosen - rejected - margin * OF_PAIRS)) + centring * (chosen + rejected) ** 2
    return float(losses.sum())


def slopes(values_S: Array, *, step: float = 1e-5, **keys: float) -> Array:
    found = np.zeros_like(values_S)
    for place in range(len(values_S)):
        moved = np.eye(len(values_S))[place] * step
        found[place] = (reference(values_S + moved, **keys) - reference(values_S - moved, **keys)) / (2 * step)
    return found


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({}, {}),
        ({"center_rewards_coefficient": 0.3}, {"centring": 0.3}),
        ({"rm_margin": 0.25, "center_rewards_coefficient": 0.01}, {"margin": 0.25, "centring": 0.01}),
        ({"rm_margin": 0.0}, {"margin": 0.0}),
    ],
)
def test_loss_and_gradient_are_those_of_numpy(keys: dict[str, Any], named: dict[str, float]) -> None:
    objective, values_S = RewardModelling(RmParams.model_validate(keys)), values()
    batch = make_batch()
    output = objective.loss(batch, Scores(logps_N=values_S[:0], values_S=values_S))
    (slope,) = torch.autograd.grad(output.loss, values_S)
    numbers = values_S.detach().numpy()
    assert output.loss.item() == pytest.approx(reference(numbers, **named), abs=1e-6)
    assert slope.numpy() == pytest.approx(slopes(numbers, **named), abs=1e-6)
    assert objective.units(batch) == 5.0


def test_the_mean_is_that_of_trls_formula() -> None:
    """TRL 1.16: -logsigmoid(chosen - rejected - margin).mean() + coefficient * mean((chosen + rejected) ** 2)."""
    objective, values_S = RewardModelling(RmParams.model_validate({"center_rewards_coefficient": 0.1})), values(2)
    batch = make_batch()
    ours = objective.loss(batch, Scores(logps_N=values_S[:0], values_S=values_S)).loss / objective.units(batch)
    chosen, rejected, margin = values_S[CHOSEN], values_S[REJECTED], torch.tensor(OF_PAIRS)
    trls = -torch.nn.functional.logsigmoid(chosen - rejected - margin).mean()
    trls = trls + 0.1 * torch.mean((chosen + rejected) ** 2)
    assert ours.item() == pytest.approx(trls.item(), abs=1e-6)


def test_metrics_are_sums_and_counts_and_ties_count_half() -> None:
    values_S = torch.zeros(13)
    values_S[1], values_S[2] = 2.0, -1.0  # the first pair is right, the next two are ties, the others wrong
    values_S[9] = values_S[12] = 3.0
    output = PLAIN.loss(make_batch(), Scores(logps_N=values_S[:0], values_S=values_S))
    found = {name: (float(total), count) for name, (total, count) in output.metrics.items()}
    assert found == {
        "rewards/chosen": (2.0, 5),
        "rewards/rejected": (5.0, 5),
        "rewards/margins": (-3.0, 5),
        "rewards/accuracies": (2.0, 5),
    }


def test_rows_without_margins_have_none() -> None:
    values_S, batch = values(), make_batch(margins=(None,) * 4)
    assert batch.labels is None
    with_margin = PLAIN.loss(batch, Scores(logps_N=values_S[:0], values_S=values_S))
    without = RewardModelling(RmParams.model_validate({"rm_margin": 0.0}))
    assert (
        with_margin.loss.item() == without.loss(make_batch(), Scores(logps_N=values_S, values_S=values_S)).loss.item()
    )
