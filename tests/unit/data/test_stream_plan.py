# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Parts of a window are planned in whole steps; every row is planned once, on one rank, the last ones at the end."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.data.plan import PlanRules
from tunesmith.data.stream_plan import plan_part


@settings(max_examples=100, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 60), max_size=70),
    batch_rows=st.integers(1, 4),
    accumulation=st.integers(1, 3),
    world_size=st.integers(1, 3),
    pack_tokens=st.sampled_from([None, 64]),
    is_last=st.booleans(),
)
def test_ranks_and_waiting_rows_are_a_partition(
    lengths: list[int], batch_rows: int, accumulation: int, world_size: int, pack_tokens: int | None, is_last: bool
) -> None:
    rules = PlanRules(
        seed=1,
        batch_rows=batch_rows,
        gradient_accumulation_steps=accumulation,
        world_size=world_size,
        pack_tokens=pack_tokens,
    )
    array = np.array(lengths, dtype=np.int32)
    plans = [plan_part(array, rules, number=5, is_last=is_last, rank=rank) for rank in range(world_size)]
    assert len({len(plan.batches) for plan in plans}) == 1
    assert all(len(plan.batches) % accumulation == 0 for plan in plans), "whole optimizer steps"
    rows = [row for plan in plans for batch in plan.batches for row in batch]
    assert sorted([*rows, *plans[0].left.tolist()]) == list(range(len(lengths)))
    assert all(plan.left.tolist() == plans[0].left.tolist() for plan in plans)
    if is_last:
        assert not len(plans[0].left)
    else:
        assert all(batch for plan in plans for batch in plan.batches), "no empty micro-batch on the way"


def test_parts_have_orders_of_their_own() -> None:
    lengths, rules = np.ones(64, dtype=np.int32), PlanRules(seed=1, batch_rows=2)
    one, other = (plan_part(lengths, rules, number=number, is_last=True).batches for number in (1, 2))
    assert one != other
    assert one == plan_part(lengths, rules, number=1, is_last=True).batches
