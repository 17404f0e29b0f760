# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Counts of a run: the same after any number of resumes as without, over ranks and over starts."""

import json
from collections.abc import Sequence

import pytest
import torch

from tests.unit.training.batches import make_batch
from tunesmith.training.totals import Meter, MetricSums, Totals


def alone(values: Sequence[float]) -> list[float]:
    return list(values)


def twice(values: Sequence[float]) -> list[float]:
    """Two ranks that count the same."""
    return [2 * value for value in values]


def test_totals_survive_a_resume() -> None:
    losses = [0.1 * number for number in range(1, 8)]
    straight, first = Meter(), Meter()
    for number, loss in enumerate(losses):
        for meter in (straight, first) if number < 4 else (straight,):
            meter.add_batch(make_batch([5, 3]))
            meter.window_metrics.add({"accuracy": (torch.tensor(3), 8)})
            meter.add_step(loss)
    second = Meter()
    second.restore(json.loads(json.dumps(first.to_json(alone))), is_first_rank=True)
    for loss in losses[4:]:
        second.add_batch(make_batch([5, 3]))
        second.window_metrics.add({"accuracy": (torch.tensor(3), 8)})
        second.add_step(loss)
    assert second.totals(alone) == straight.totals(alone)
    assert second.take_window(alone) == pytest.approx(straight.take_window(alone), abs=1e-12)
    assert straight.totals(alone).mean_loss == pytest.approx(0.4)


def test_counts_of_a_batch() -> None:
    meter = Meter()
    meter.add_batch(make_batch([5, 3]))
    totals = meter.totals(alone)
    assert (totals.rows, totals.tokens, totals.positions, totals.supervised_tokens) == (2, 8, 10, 6)


def test_ranks_are_added_once() -> None:
    first = Meter()
    first.add_batch(make_batch([4]))
    first.add_step(0.5)
    saved = first.to_json(twice)
    assert saved["totals"]["rows"] == 2 and saved["totals"]["loss"] == 1.0 and saved["totals"]["steps"] == 1
    ranks = [Meter(), Meter()]
    for rank, meter in enumerate(ranks):
        meter.restore(saved, is_first_rank=rank == 0)
    assert sum(meter.window_loss for meter in ranks) == 1.0
    assert ranks[1].totals(twice).rows == 2


def test_the_window_begins_anew() -> None:
    meter = Meter()
    meter.add_step(1.0)
    meter.add_step(2.0)
    assert meter.take_window(alone) == {"loss": 1.5}
    assert meter.take_window(alone) == {}


def test_metrics_divide_at_the_end() -> None:
    sums = MetricSums()
    sums.add({"a": (1, 1), "b": (torch.tensor(1.0, requires_grad=True), 4)})
    sums.add({"a": (0, 3), "c": (0, 0)})
    assert sums.means(alone) == {"a": 0.25, "b": 0.25}


def test_rates_of_an_empty_run_are_zero() -> None:
    assert Totals().mean_loss == 0.0 and Totals().rate(5) == 0.0


def test_the_clock_adds_up_starts() -> None:
    meter = Meter(before=Totals(seconds=100.0))
    meter.start()
    meter.stop()
    seconds = meter.totals(alone).seconds
    assert 100.0 <= seconds < 101.0 and meter.totals(alone).seconds == seconds
