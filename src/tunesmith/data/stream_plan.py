# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The batch plan of a part of a stream: full optimizer steps, and the rows that wait for the next part.

It is a pure function of lengths, rules and the number of the part; rows that fill no step are trained at the end of
their window, in one shorter step.
"""

from dataclasses import dataclass, replace

import numpy as np

from tunesmith.core.types import IntArray
from tunesmith.data.bins import MicroBatch
from tunesmith.data.groups import Index
from tunesmith.data.plan import PlanRules, num_units, plan_epoch


@dataclass(frozen=True, kw_only=True)
class PartPlan:
    """The micro-batches of one rank, always whole steps of them, and the rows that are left for the next part."""

    batches: list[MicroBatch]
    left: Index


def plan_part(lengths: IntArray, rules: PlanRules, *, number: int, is_last: bool, rank: int = 0) -> PartPlan:
    """Plan the rows of a part; the last part of a window leaves none.

    The step that ends a window has as many micro-batches as any other: empty ones fill it up.
    """
    rules = replace(rules, drop_last=False)
    per_step = rules.gradient_accumulation_steps
    num_full = num_units(lengths, rules) // rules.step_units * per_step
    plans = {one: plan_epoch(lengths, rules, epoch=number, rank=one) for one in range(rules.world_size)}
    if is_last:
        batches = plans[rank][:]
        return PartPlan(batches=[*batches, *[()] * (-len(batches) % per_step)], left=np.zeros(0, dtype=np.int64))
    is_left = np.ones(len(lengths), dtype=bool)
    for plan in plans.values():
        is_left[plan.rows[: plan.offsets[num_full]]] = False
    return PartPlan(batches=plans[rank][:num_full], left=np.flatnonzero(is_left))
