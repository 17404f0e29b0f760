# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The batch plan: which rows form which micro-batch on which rank, as a pure function of (lengths, rules, epoch).

The rows of one optimizer step depend only on the size of the step, not on how it is cut into micro-batches, packed or
spread over ranks. It knows nothing of tokens or tensors.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tunesmith.core.types import IntArray

MicroBatch = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class PlanRules:
    """What a plan depends on besides the lengths and the epoch.

    `batch_rows` counts the rows of a micro-batch of one rank; with `pack_tokens` it counts bins, each filled with rows
    up to that many tokens. A row longer than `pack_tokens` has a bin of its own.
    """

    seed: int
    batch_rows: int
    gradient_accumulation_steps: int = 1
    world_size: int = 1
    pack_tokens: int | None = None
    shuffle: bool = True
    drop_last: bool = False

    @property
    def step_rows(self) -> int:
        """Rows (or bins) of a full optimizer step over all ranks."""
        return self.batch_rows * self.gradient_accumulation_steps * self.world_size


def plan_epoch(lengths: IntArray, rules: PlanRules, *, epoch: int, rank: int = 0) -> list[MicroBatch]:
    """Give the micro-batches of one rank in one epoch, as row indices in order.

    Over all ranks every row occurs exactly once (`drop_last` leaves out the rows that fill no micro-batch on every
    rank). All ranks get the same number of micro-batches: the rows of a last, short step are spread evenly, and a rank
    for which none is left gets an empty one. Optimizer step k is micro-batches k·A to (k+1)·A of each rank.
    """
    units = _ordered_units(lengths, rules, epoch)
    if rules.drop_last:
        whole = rules.batch_rows * rules.world_size
        units = units[: len(units) // whole * whole]
    plan: list[MicroBatch] = []
    for start in range(0, len(units), rules.step_rows):
        plan.extend(_step_batches(units[start : start + rules.step_rows], lengths, rules, rank))
    return plan


def _ordered_units(lengths: IntArray, rules: PlanRules, epoch: int) -> list[MicroBatch]:
    """Rows, or bins of packed rows, in the order of training."""
    generator = np.random.default_rng((rules.seed, epoch))
    order = np.arange(len(lengths))
    if rules.shuffle:
        order = generator.permutation(order)
    if rules.pack_tokens is None:
        return [(int(row),) for row in order]
    bins = pack_rows(lengths, order.tolist(), rules.pack_tokens)
    if rules.shuffle:
        bins = [bins[index] for index in generator.permutation(len(bins))]
    return bins


def pack_rows(lengths: IntArray, order: Sequence[int], capacity: int) -> list[MicroBatch]:
    """Fill bins of `capacity` tokens best-fit, longest rows first; `order` breaks ties. No row is cut or left out."""
    by_length = sorted(order, key=lambda row: -int(lengths[row]))
    shortest = int(lengths[by_length[-1]]) if by_length else 0
    bins: list[list[int]] = []
    open_bins: list[tuple[int, int]] = []  # (free tokens, bin), sorted
    for row in by_length:
        length = int(lengths[row])
        place = bisect_left(open_bins, (length, -1))
        if place < len(open_bins):
            free, index = open_bins.pop(place)
            bins[index].append(row)
        else:
            free, index = capacity, len(bins)
            bins.append([row])
        if free - length >= max(shortest, 1):
            insort(open_bins, (free - length, index))
    return [tuple(members) for members in bins]


def _step_batches(units: list[MicroBatch], lengths: IntArray, rules: PlanRules, rank: int) -> list[MicroBatch]:
    """Cut the rows of one optimizer step into this rank's micro-batches.

    Shuffled rows are put in order of length first: neighbours of similar length pad little and ranks finish together.
    """
    if rules.shuffle:
        units = sorted(units, key=lambda unit: -sum(int(lengths[row]) for row in unit))
    num_batches = -(-len(units) // (rules.batch_rows * rules.world_size))
    slots = num_batches * rules.world_size
    borders = [len(units) * slot // slots for slot in range(slots + 1)]
    mine = range(rank, slots, rules.world_size)
    return [tuple(row for unit in units[borders[slot] : borders[slot + 1]] for row in unit) for slot in mine]
