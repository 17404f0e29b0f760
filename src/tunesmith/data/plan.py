# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The batch plan: which rows form which micro-batch on which rank, as a pure function of (lengths, rules, epoch).

The rows of one optimizer step depend only on the size of the step, not on how it is cut into micro-batches or spread
over ranks. It knows nothing of tokens or tensors.
"""

from dataclasses import dataclass

import numpy as np

from tunesmith.core.types import IntArray, LayoutKind
from tunesmith.data.bins import Indices, RowGroups, group_rows, offsets_of, pack_rows, single_rows

# Steps are put together in blocks of about so many rows or bins, so that nothing but the result grows with the data.
_BLOCK_UNITS = 1 << 16


@dataclass(frozen=True, kw_only=True)
class PlanRules:
    """What a plan depends on besides the lengths and the epoch.

    A micro-batch of one rank is `batch_rows` rows; with `pack_tokens`, `batch_rows` bins of rows of up to that many
    tokens; with `tokens_per_batch`, rows of so many tokens. Where a model cannot take packed rows (`layout`), token
    budgets count padding too: rows of like lengths, rows × longest within the budget. A single row may exceed it.
    """

    seed: int
    batch_rows: int
    gradient_accumulation_steps: int = 1
    world_size: int = 1
    pack_tokens: int | None = None
    tokens_per_batch: int | None = None
    layout: LayoutKind = "packed"
    shuffle: bool = True
    drop_last: bool = False

    @property
    def budget(self) -> int | None:
        """Tokens of a unit: of a bin, or of a whole padded micro-batch; None where rows are counted."""
        if self.tokens_per_batch is not None or self.pack_tokens is None:
            return self.tokens_per_batch
        return self.pack_tokens if self.layout == "packed" else self.pack_tokens * self.batch_rows

    @property
    def batch_units(self) -> int:
        """Rows, bins or padded groups of a micro-batch."""
        is_group = self.tokens_per_batch is not None or (self.pack_tokens is not None and self.layout == "padded")
        return 1 if is_group else self.batch_rows

    @property
    def step_units(self) -> int:
        """Rows, bins or padded groups of a full optimizer step over all ranks."""
        return self.batch_units * self.gradient_accumulation_steps * self.world_size


def plan_epoch(lengths: IntArray, rules: PlanRules, *, epoch: int, rank: int = 0) -> RowGroups:
    """Give the micro-batches of one rank in one epoch, as row numbers in order.

    Over all ranks every row occurs exactly once (`drop_last` leaves out the rows that fill no micro-batch on every
    rank). All ranks get the same number of micro-batches: the rows of a last, short step are spread evenly, and a rank
    for which none is left gets an empty one. Optimizer step k is micro-batches k·A to (k+1)·A of each rank.
    """
    units = _ordered_units(lengths, rules, epoch)
    num_used = len(units)
    if rules.drop_last:
        whole = rules.batch_units * rules.world_size
        num_used = num_used // whole * whole
    block = -(-_BLOCK_UNITS // rules.step_units) * rules.step_units
    blocks = [
        _rank_batches(units.span(start, min(start + block, num_used)), lengths, rules, rank)
        for start in range(0, num_used, block)
    ]
    return RowGroups(
        rows=np.concatenate([np.zeros(0, dtype=np.int32), *(batches.rows for batches in blocks)]),
        offsets=offsets_of(np.concatenate([np.zeros(0, dtype=np.int64), *(np.diff(each.offsets) for each in blocks)])),
    )


def num_units(lengths: IntArray, rules: PlanRules) -> int:
    """Count the rows, bins or padded groups of an epoch; the same in every epoch."""
    return (
        len(lengths)
        if rules.budget is None
        else len(_gathered(lengths, np.arange(len(lengths), dtype=np.int32), rules))
    )


def _ordered_units(lengths: IntArray, rules: PlanRules, epoch: int) -> RowGroups:
    """Rows, or rows gathered within the budget, in the order of training."""
    generator = np.random.default_rng((rules.seed, epoch))
    order = np.arange(len(lengths), dtype=np.int32)
    if rules.shuffle:
        generator.shuffle(order)
    if rules.budget is None:
        return single_rows(order)
    units = _gathered(lengths, order, rules)
    return units.take(generator.permutation(len(units))) if rules.shuffle else units


def _gathered(lengths: IntArray, order: IntArray, rules: PlanRules) -> RowGroups:
    assert rules.budget is not None, "called where rows are gathered by tokens"
    gather = pack_rows if rules.layout == "packed" else group_rows
    return gather(lengths, order, rules.budget)


def _rank_batches(units: RowGroups, lengths: IntArray, rules: PlanRules, rank: int) -> RowGroups:
    """Cut the units of some optimizer steps, all full but the last, into this rank's micro-batches.

    Shuffled rows are put in order of length first: neighbours of similar length pad little and ranks finish together.
    """
    order = np.arange(len(units), dtype=np.int64)
    if rules.shuffle:
        order = np.lexsort((-units.totals(lengths), order // rules.step_units))
    slots = _slots(len(units), rules)
    mine = RowGroups(rows=order, offsets=slots).take(np.arange(rank, len(slots) - 1, rules.world_size))
    taken = units.take(mine.rows)
    return RowGroups(rows=taken.rows, offsets=taken.offsets[mine.offsets])


def _slots(num_units: int, rules: PlanRules) -> Indices:
    """Give the borders of all ranks' micro-batches, rank after rank; those of a short last step are of even size."""
    per_slot, per_step = rules.batch_units, rules.step_units
    full = num_units // per_step * per_step
    rest = num_units - full
    num_slots = -(-rest // (per_slot * rules.world_size)) * rules.world_size
    last = full + rest * np.arange(num_slots + 1, dtype=np.int64) // max(num_slots, 1)
    return np.concatenate([np.arange(0, full, per_slot, dtype=np.int64), last])
