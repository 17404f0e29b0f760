# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Every registered objective keeps its contract: pure sums, so that any split, layout or order of rows is the same.

A new objective is found without editing this file; a new kind of row needs its made rows below.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tunesmith.config.section import Section
from tunesmith.core.types import NO_PARENT, Batch, LayoutKind, LossOutput, RowKind, RowRef, Scores, TokenRow
from tunesmith.data.collate import collate
from tunesmith.objectives.base import Objective, objectives
from tunesmith.objectives.pair_losses.base import pair_losses
from tunesmith.objectives.statistics import join_statistics

VOCABULARY = 50
NAMES = objectives.names()
REWARDS = ("rewards/chosen", "rewards/rejected")


def plain_row(number: int, *, first_weight: float) -> TokenRow:
    generator = np.random.default_rng(number)
    length = int(generator.integers(6, 15))
    weights = np.ones(length, dtype=np.float32)
    weights[: length // 3] = first_weight
    return TokenRow(
        source=RowRef(dataset="made", file="made.jsonl", row=number),
        input_ids=generator.integers(0, VOCABULARY, length).astype(np.int32),
        weights=weights,
        segment_lengths=(length,),
        channel=("even", "odd", None)[number % 3],
    )


def answers_row(number: int, *, names: tuple[str, ...], label: float | None = None) -> TokenRow:
    """Make a prompt with answers; every third row has one more of the last kind."""
    generator = np.random.default_rng(number)
    called = names + names[-1:] * (number % 3 == 1)
    lengths = [int(generator.integers(2, 9)) for _ in called]
    weights = np.concatenate([np.full(size, float(place > 0), np.float32) for place, size in enumerate(lengths)])
    return TokenRow(
        source=RowRef(dataset="made", file="made.jsonl", row=number),
        input_ids=generator.integers(0, VOCABULARY, sum(lengths)).astype(np.int32),
        weights=weights,
        segment_lengths=tuple(lengths),
        segment_parents=(NO_PARENT, *(0,) * (len(called) - 1)),
        segment_names=called,
        label=label,
    )


MADE: dict[RowKind, Callable[[int], TokenRow]] = {
    "text": lambda number: plain_row(number, first_weight=1.0),
    "supervised": lambda number: plain_row(number, first_weight=0.0),
    "preference": lambda number: answers_row(
        number, names=("prompt", "chosen", "rejected"), label=(None, 0.5, 1.0)[number % 3]
    ),
    "feedback": lambda number: answers_row(number, names=("prompt", "answer", "mismatched"), label=float(number % 2)),
}
# Keys beside the defaults under which an objective must keep the contract too.
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "dpo": [
        *({"pref_loss": name} for name in pair_losses.names()),
        {"pref_loss": "sigmoid,kto_pair,simpo", "pref_loss_weights": (0.5, 2.0, 1.0), "pref_ftx": 0.3},
        {"pref_bco_weight": 0.7, "ld_alpha": 0.4},
        {"reference_free": True, "pref_beta": 0.5},
    ],
    "pt": [{"label_smoothing_factor": 0.1}],
    "rm": [{"center_rewards_coefficient": 0.2, "rm_margin": 0.5}],
    "sft": [
        *({switch: True} for switch in ("use_dft_loss", "use_eaft_loss", "use_asft_loss")),
        *({"focal_gamma": 2.0}, {"label_smoothing_factor": 0.2}, {"enable_channel_loss": True}),
        {"use_eaft_loss": True, "eaft_alpha": 0.5},
        {"use_asft_loss": True, "asft_alpha": 0.7, "enable_channel_loss": True},
    ],
    "kto": [{"kto_chosen_weight": 0.5, "kto_rejected_weight": 2.0, "pref_ftx": 0.2, "pref_beta": 0.8}],
}
CASES = [(name, keys) for name in NAMES for keys in ({}, *SETTINGS.get(name, ()))]


@pytest.fixture(params=CASES, ids=[" ".join([name, *map(str, keys.values())]) for name, keys in CASES])
def objective(request: pytest.FixtureRequest) -> Objective:
    name, keys = request.param
    kind = objectives.get(name)
    return kind(kind.Params.model_validate(keys))


def rows_for(objective: Objective, count: int = 6) -> list[TokenRow]:
    assert objective.row_kind in MADE, f"make rows of kind {objective.row_kind} in MADE"
    return [MADE[objective.row_kind](number) for number in range(count)]


def score(batch: Batch, *, phase: float = 0.0) -> Scores:
    """Score targets by a fixed function of row, place in the segment, and id, so that layouts do not matter."""
    offsets = torch.zeros(len(batch.target_ids_N))
    for segment in range(len(batch.segment_names)):
        chosen = batch.target_segment_N == segment
        offsets[chosen] = torch.arange(int(chosen.sum())).float()
    row_of_N = batch.segment_row_S[batch.target_segment_N]
    keys = torch.tensor([row.row for row in batch.rows])[row_of_N] if batch.rows else torch.zeros(0)
    logps_N = -(1.5 + torch.sin(3.1 * keys + 0.7 * offsets + batch.target_ids_N + phase))
    return Scores(
        logps_N=logps_N.requires_grad_(),
        is_top_N=logps_N > -1,
        mean_logps_N=(2.0 * logps_N.detach() - 3.0).requires_grad_(),
        top_entropy_N=1.0 + logps_N.detach().cos(),
        divergence_N=(1.5 + logps_N.detach().sin()).requires_grad_(),
        values_S=segment_values(batch),
    )


def segment_values(batch: Batch) -> Tensor:
    """Give segments values by a fixed function of row and number within the row."""
    rows = [batch.rows[row].row for row in batch.segment_row_S.tolist()]
    places = [rows[:place].count(row) for place, row in enumerate(rows)]
    return torch.tensor([math.sin(2.3 * row + place) for row, place in zip(rows, places, strict=True)]).requires_grad_()


def slopes_of(loss: Tensor, scores: Scores) -> dict[str, Tensor]:
    """Differentiate a loss by every score that it reads."""
    given = {item.name: getattr(scores, item.name) for item in fields(scores)}
    read = {name: value for name, value in given.items() if value is not None and value.requires_grad}
    found = torch.autograd.grad(loss, list(read.values()), allow_unused=True) if loss.requires_grad else ()
    return {name: slope for name, slope in zip(read, found, strict=False) if slope is not None}


def reference_of(objective: Objective, batch: Batch) -> Scores | None:
    """Score by another fixed function where the objective compares."""
    return Scores(logps_N=score(batch, phase=0.4).logps_N.detach()) if objective.needs_reference else None


def loss_of(objective: Objective, batch: Batch, scores: Scores) -> LossOutput:
    """Give the loss of a batch that is a whole step."""
    reference = reference_of(objective, batch)
    return objective.loss(batch, scores, reference, objective.step_statistics(batch, scores, reference))


def sums(objective: Objective, splits: Sequence[Sequence[TokenRow]], layout: LayoutKind) -> dict[str, float]:
    """Add up loss, units, gradients and metrics over micro-batches."""
    total: dict[str, float] = {}
    batches = [collate(rows, layout=layout, pad_id=0) for rows in splits]
    statistics = join_statistics(
        objective.step_statistics(batch, score(batch), reference_of(objective, batch)) for batch in batches
    )
    for batch in batches:
        scores = score(batch)
        output = objective.loss(batch, scores, reference_of(objective, batch), statistics)
        slopes = slopes_of(output.loss, scores)
        values = {
            "loss": output.loss.item(),
            "units": objective.units(batch),
            "gradient": sum(float(slope.square().sum()) for slope in slopes.values()),
        }
        for name, (metric, count) in output.metrics.items():
            values |= {f"{name} sum": float(metric), f"{name} count": float(count)}
        total |= {name: total.get(name, 0.0) + value for name, value in values.items()}
    return total


def test_any_split_and_layout_gives_the_same_sums(objective: Objective) -> None:
    rows = rows_for(objective)
    whole = sums(objective, [rows], "packed")
    assert whole["units"] > 0 and whole["gradient"] > 0 and np.isfinite(whole["loss"])
    layouts: tuple[LayoutKind, ...] = ("packed", "padded")
    for layout in layouts:
        for splits in ([rows], [rows[:1], rows[1:]], [[row] for row in rows], [rows[::-1]]):
            assert sums(objective, splits, layout) == pytest.approx(whole, rel=1e-6, abs=1e-4)


def test_a_micro_batch_without_rows_adds_nothing(objective: Objective) -> None:
    empty = sums(objective, [[]], "padded")
    assert all(value == 0 for value in empty.values())


def test_a_loss_is_a_pure_function(objective: Objective) -> None:
    batch = collate(rows_for(objective), layout="packed", pad_id=0)
    scores = score(batch)
    before = (batch.target_weights_N.clone(), scores.logps_N.detach().clone())
    first, second = loss_of(objective, batch, scores).loss, loss_of(objective, batch, scores).loss
    assert torch.equal(first, second)
    assert torch.equal(batch.target_weights_N, before[0]) and torch.equal(scores.logps_N.detach(), before[1])


def test_better_scores_give_a_lower_loss(objective: Objective) -> None:
    batch = collate(rows_for(objective), layout="packed", pad_id=0)
    scores = score(batch)
    loss = loss_of(objective, batch, scores).loss
    moved: dict[str, Any] = {
        name: getattr(scores, name).detach() - 1e-3 * slope for name, slope in slopes_of(loss, scores).items()
    }
    stepped = replace(scores, **moved)
    assert loss_of(objective, batch, stepped).loss < loss


def test_a_section_of_its_own(objective: Objective) -> None:
    assert issubclass(objective.Params, Section)
    assert objective.Params.section and objective.Params.selected_by
    assert objective.unit in ("token", "row", "pair") and objective.head in ("language", "scalar")
    assert objective.__doc__ and objective.loss.__doc__


def test_an_equal_reference_is_what_step_0_must_find(objective: Objective) -> None:
    if not objective.needs_reference:
        return
    batch = collate(rows_for(objective), layout="packed", pad_id=0)
    scores = score(batch)
    expected = objective.at_reference(batch, scores)
    rewards = [float(total) for name, (total, _) in expected.metrics.items() if name in REWARDS]
    assert rewards == [0.0] * len(REWARDS) and torch.isfinite(expected.loss)
    assert loss_of(objective, batch, scores).loss.item() != pytest.approx(expected.loss.item(), abs=1e-3)
