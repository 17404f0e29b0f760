# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The batch plan is a partition of the rows, equal in steps on all ranks and independent of how a step is cut."""

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.core.types import IntArray
from tunesmith.data import plan
from tunesmith.data.plan import PlanRules, num_units, plan_epoch


def lengths_of(values: list[int]) -> IntArray:
    return np.array(values, dtype=np.int32)


rules_strategy = st.builds(
    PlanRules,
    seed=st.integers(0, 5),
    batch_rows=st.integers(1, 5),
    gradient_accumulation_steps=st.integers(1, 4),
    world_size=st.integers(1, 4),
    pack_tokens=st.one_of(st.none(), st.integers(10, 60)),
    tokens_per_batch=st.one_of(st.none(), st.integers(10, 120)),
    layout=st.sampled_from(["packed", "padded"]),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 50), max_size=70), rules_strategy, st.integers(0, 3))
def test_every_row_occurs_once_and_ranks_have_equal_steps(values: list[int], rules: PlanRules, epoch: int) -> None:
    lengths = lengths_of(values)
    ranks = [plan_epoch(lengths, rules, epoch=epoch, rank=rank) for rank in range(rules.world_size)]
    assert len({len(plan) for plan in ranks}) == 1
    seen = sorted(row for plan in ranks for batch in plan for row in batch)
    if rules.drop_last:
        assert len(seen) == len(set(seen))
        assert all(batch for plan in ranks for batch in plan)
        if rules.budget is None:
            assert len(values) - len(seen) < rules.batch_rows * rules.world_size
    else:
        assert seen == list(range(len(values)))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 50), max_size=70), rules_strategy, st.integers(0, 3))
def test_no_micro_batch_exceeds_its_budget(values: list[int], rules: PlanRules, epoch: int) -> None:
    lengths = lengths_of(values)
    for batch in plan_epoch(lengths, replace(rules, drop_last=False), epoch=epoch):
        longest, total = max((values[row] for row in batch), default=0), sum(values[row] for row in batch)
        if rules.budget is not None and len(batch) > rules.batch_units:
            cost = total if rules.layout == "packed" else longest * len(batch)
            # A bin with a row beyond the budget holds this row alone, and counts as full.
            beyond = sum(max(values[row] - rules.budget, 0) for row in batch)
            assert cost - beyond <= rules.budget * rules.batch_units


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 50), max_size=70), rules_strategy, st.integers(0, 3))
def test_a_plan_depends_on_nothing_but_its_inputs(values: list[int], rules: PlanRules, epoch: int) -> None:
    lengths = lengths_of(values)
    before = list(plan_epoch(lengths, rules, epoch=epoch))
    np.random.default_rng(0).permutation(9)
    np.random.seed(epoch + 1)
    assert list(plan_epoch(lengths.copy(), rules, epoch=epoch)) == before
    units = num_units(lengths, rules)
    whole = rules.batch_units * rules.world_size
    steps = -(-(units // whole * whole if rules.drop_last else units) // rules.step_units)
    assert -(-len(before) // rules.gradient_accumulation_steps) == steps


def steps_of(lengths: IntArray, rules: PlanRules, epoch: int) -> list[list[int]]:
    """Give the rows of each optimizer step over all ranks, sorted."""
    plans = [plan_epoch(lengths, rules, epoch=epoch, rank=rank) for rank in range(rules.world_size)]
    size = rules.gradient_accumulation_steps
    return [
        sorted(row for ranks in plans for batch in ranks[start : start + size] for row in batch)
        for start in range(0, len(plans[0]), size)
    ]


CUTS = [(12, 1, 1), (6, 2, 1), (1, 12, 1), (2, 3, 2), (1, 3, 4), (3, 1, 4)]


def cut_of(rules: PlanRules, rows: int, accumulation: int, ranks: int) -> PlanRules:
    return replace(rules, batch_rows=rows, gradient_accumulation_steps=accumulation, world_size=ranks)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 50), max_size=120), rules_strategy, st.integers(0, 3))
def test_the_rows_of_a_step_do_not_depend_on_how_it_is_cut(values: list[int], rules: PlanRules, epoch: int) -> None:
    lengths = lengths_of(values)
    rules = replace(rules, drop_last=False)
    cuts = CUTS
    if rules.tokens_per_batch is not None or (rules.layout == "padded" and rules.pack_tokens is not None):
        cuts = [cut for cut in CUTS if cut[0] == 1] + [(1, 6, 2), (1, 2, 6)]  # a micro-batch has a size of its own
    steps = [steps_of(lengths, cut_of(rules, *cut), epoch) for cut in cuts]
    assert all(each == steps[0] for each in steps)


def test_a_short_last_step_holds_what_is_left() -> None:
    lengths = np.random.default_rng(1).integers(5, 90, 53).astype(np.int32)
    rules = PlanRules(seed=3, batch_rows=2, gradient_accumulation_steps=3, world_size=2)
    assert [len(step) for step in steps_of(lengths, rules, 1)] == [12, 12, 12, 12, 5]


def test_a_long_epoch_is_planned_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = np.random.default_rng(1).integers(5, 90, 253).astype(np.int32)
    rules = PlanRules(seed=3, batch_rows=2, gradient_accumulation_steps=3, world_size=2)
    plans = [list(plan_epoch(lengths, rules, epoch=0, rank=rank)) for rank in range(2)]
    monkeypatch.setattr(plan, "_BLOCK_UNITS", 20)
    assert [list(plan_epoch(lengths, rules, epoch=0, rank=rank)) for rank in range(2)] == plans


def test_rows_of_like_length_share_padded_batches() -> None:
    lengths = np.random.default_rng(2).integers(5, 300, 400).astype(np.int32)
    rules = PlanRules(seed=0, batch_rows=1, tokens_per_batch=1200, layout="padded")
    batches = plan_epoch(lengths, rules, epoch=0)
    padded = sum(len(batch) * max(int(lengths[row]) for row in batch) for batch in batches)
    assert int(lengths.sum()) / padded > 0.95
    assert list(batches) != list(plan_epoch(lengths, rules, epoch=1))


def test_millions_of_rows_are_planned_at_once() -> None:
    lengths = np.clip(np.random.default_rng(0).lognormal(4.7, 0.8, 1_000_000), 5, 2048).astype(np.int32)
    start = time.perf_counter()
    for rules in (PlanRules(seed=0, batch_rows=8), PlanRules(seed=0, batch_rows=1, pack_tokens=2048)):
        assert len(plan_epoch(lengths, rules, epoch=0).rows) == 1_000_000
    assert time.perf_counter() - start < 10  # about 0.3 s on an idle core


def test_order_follows_seed_and_epoch() -> None:
    lengths = np.full(40, 7, dtype=np.int32)
    rules = PlanRules(seed=1, batch_rows=4)
    first = list(plan_epoch(lengths, rules, epoch=0))
    assert first == list(plan_epoch(lengths, rules, epoch=0))
    assert first != list(plan_epoch(lengths, rules, epoch=1))
    assert first != list(plan_epoch(lengths, replace(rules, seed=2), epoch=0))
    in_order = plan_epoch(lengths, replace(rules, shuffle=False), epoch=1)
    assert [row for batch in in_order for row in batch] == list(range(40))


def test_packed_epochs_have_the_same_number_of_batches() -> None:
    lengths = np.random.default_rng(2).integers(5, 300, 200).astype(np.int32)
    rules = PlanRules(seed=0, batch_rows=1, pack_tokens=512)
    assert len({len(plan_epoch(lengths, rules, epoch=epoch)) for epoch in range(5)}) == 1


def test_a_rank_without_rows_gets_an_empty_batch() -> None:
    rules = PlanRules(seed=0, batch_rows=1, world_size=4)
    plans = [plan_epoch(lengths_of([3, 4]), rules, epoch=0, rank=rank) for rank in range(4)]
    assert [len(plan) for plan in plans] == [1, 1, 1, 1]
    assert sorted(len(plan[0]) for plan in plans) == [0, 0, 1, 1]
