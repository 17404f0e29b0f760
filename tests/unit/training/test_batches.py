# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Batches come as planned, skip by index, and draw nothing from the global generator."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from accelerate import skip_first_batches  # type: ignore[import-untyped]

from tests.unit.training.batches import make_store
from tunesmith.core.types import Batch, LayoutKind
from tunesmith.data.plan import PlanRules, plan_epoch
from tunesmith.training.batches import (
    LoaderSettings,
    PlannedBatches,
    build_loader,
    evaluation_rules,
    num_workers,
    plan_in_order,
    to_device,
)

STORE = make_store([5, 9, 4, 7, 12, 6, 8, 3, 10])
RULES = PlanRules(seed=1, batch_rows=2, gradient_accumulation_steps=2)
SETTINGS = LoaderSettings(layout="padded", pad_id=0)


def rows_of(batch: Batch) -> list[int]:
    return [row.row for row in batch.rows]


def test_the_loader_follows_the_plan_of_its_epoch() -> None:
    loader = build_loader(STORE, PlannedBatches(STORE, RULES), SETTINGS)
    for epoch in (0, 1):
        loader.batch_sampler.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
        seen = [rows_of(inputs["batch"]) for inputs in loader]
        assert seen == [list(rows) for rows in plan_epoch(STORE.lengths, RULES, epoch=epoch)]
    assert len(loader) == 5


def test_skipping_is_an_index() -> None:
    loader = build_loader(STORE, PlannedBatches(STORE, RULES), SETTINGS)
    all_rows = [rows_of(inputs["batch"]) for inputs in loader]
    skipped = skip_first_batches(loader, 3)
    assert [rows_of(inputs["batch"]) for inputs in skipped] == all_rows[3:]


def test_loading_draws_no_random_number() -> None:
    before = torch.get_rng_state()
    list(build_loader(STORE, PlannedBatches(STORE, RULES), SETTINGS))
    assert torch.equal(before, torch.get_rng_state())


def test_an_evaluation_sees_every_row_once_with_like_lengths_together() -> None:
    plan = plan_in_order(STORE, PlanRules(seed=0, batch_rows=3))
    assert sorted(row for batch in plan for row in batch) == list(range(9))
    lengths = [int(STORE.lengths[row]) for batch in plan for row in batch]
    assert all(before >= after for before, after in pairwise(lengths))


@pytest.mark.parametrize("layout", ["packed", "padded"])
def test_token_budgets_hold_in_training_and_evaluation(layout: LayoutKind) -> None:
    rules = PlanRules(seed=1, batch_rows=7, gradient_accumulation_steps=2, tokens_per_batch=20, layout=layout)
    evaluation = evaluation_rules(rules, batch_rows=3, world_size=1)
    loader = build_loader(STORE, PlannedBatches(STORE, rules), replace(SETTINGS, layout=layout))
    for plan in ([rows_of(inputs["batch"]) for inputs in loader], plan_in_order(STORE, evaluation)):
        assert sorted(row for batch in plan for row in batch) == list(range(9))
        for batch in plan:
            lengths = STORE.lengths[list(batch)]
            assert (lengths.sum() if layout == "packed" else len(batch) * lengths.max()) <= 20
    for inputs in loader:
        assert inputs["batch"].input_ids_BT.numel() <= 20


def test_an_evaluation_counts_its_own_rows_beside_a_plan_of_rows() -> None:
    evaluation = evaluation_rules(replace(RULES, drop_last=True), batch_rows=4, world_size=1)
    assert [len(batch) for batch in plan_in_order(STORE, evaluation)] == [4, 4, 1]


def test_a_batch_moves_whole() -> None:
    batch = next(iter(build_loader(STORE, PlannedBatches(STORE, RULES), SETTINGS)))["batch"]
    moved = to_device(batch, torch.device("meta"))
    assert moved.input_ids_BT.device.type == moved.target_weights_N.device.type == "meta"
    assert moved.attention_mask_BT is not None and moved.rows == batch.rows


def test_workers_are_no_more_than_cores(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("tunesmith.training.batches.num_cores", lambda: 2)
    assert [num_workers(asked) for asked in (0, 1, 2)] == [0, 1, 2] and capsys.readouterr().err == ""
    assert num_workers(4) == 2
    assert "dataloader_num_workers: 4 is lowered to 2" in capsys.readouterr().err
