# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The batch plan is a partition of the rows, equal in steps on all ranks and independent of how a step is cut."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.core.types import IntArray
from tunesmith.data.plan import PlanRules, pack_rows, plan_epoch


def lengths_of(values: list[int]) -> IntArray:
    return np.array(values, dtype=np.int32)


rules_strategy = st.builds(
    PlanRules,
    seed=st.integers(0, 5),
    batch_rows=st.integers(1, 5),
    gradient_accumulation_steps=st.integers(1, 4),
    world_size=st.integers(1, 4),
    pack_tokens=st.one_of(st.none(), st.integers(10, 60)),
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
        if rules.pack_tokens is None:
            assert len(values) - len(seen) < rules.batch_rows * rules.world_size
    else:
        assert seen == list(range(len(values)))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 50), max_size=70), st.integers(10, 60))
def test_bins_hold_every_row_and_never_overflow(values: list[int], capacity: int) -> None:
    lengths = lengths_of(values)
    bins = pack_rows(lengths, range(len(values)), capacity)
    assert sorted(row for members in bins for row in members) == list(range(len(values)))
    for members in bins:
        assert len(members) == 1 or sum(values[row] for row in members) <= capacity


def test_packing_fills_bins() -> None:
    lengths = np.random.default_rng(0).integers(20, 400, 3000).astype(np.int32)
    bins = pack_rows(lengths, range(3000), 2048)
    full = sorted((int(lengths[list(members)].sum()) for members in bins), reverse=True)[:-1]
    assert sum(full) / (2048 * len(full)) > 0.98


def test_the_rows_of_a_step_do_not_depend_on_how_it_is_cut() -> None:
    lengths = np.random.default_rng(1).integers(5, 90, 53).astype(np.int32)
    cuts = [(12, 1, 1), (6, 2, 1), (1, 12, 1), (2, 3, 2), (1, 3, 4), (3, 1, 4)]
    steps_of_cuts = []
    for batch_rows, accumulation, world_size in cuts:
        rules = PlanRules(
            seed=3, batch_rows=batch_rows, gradient_accumulation_steps=accumulation, world_size=world_size
        )
        plans = [plan_epoch(lengths, rules, epoch=1, rank=rank) for rank in range(world_size)]
        starts = range(0, len(plans[0]), accumulation)
        steps = [
            sorted(row for plan in plans for batch in plan[start : start + accumulation] for row in batch)
            for start in starts
        ]
        steps_of_cuts.append(steps)
    assert all(steps == steps_of_cuts[0] for steps in steps_of_cuts)
    assert [len(step) for step in steps_of_cuts[0]] == [12, 12, 12, 12, 5]


def test_order_follows_seed_and_epoch() -> None:
    lengths = np.full(40, 7, dtype=np.int32)
    rules = PlanRules(seed=1, batch_rows=4)
    first = plan_epoch(lengths, rules, epoch=0)
    assert first == plan_epoch(lengths, rules, epoch=0)
    assert first != plan_epoch(lengths, rules, epoch=1)
    assert first != plan_epoch(lengths, replace(rules, seed=2), epoch=0)
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
