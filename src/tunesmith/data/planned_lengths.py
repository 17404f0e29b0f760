# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What a row counts in a batch plan: its tokens, or in padded batches the tokens of all paths that it becomes there."""

import numpy as np

from tunesmith.core.types import NO_PARENT, IntArray, TokenRow
from tunesmith.data.plan import PlanRules
from tunesmith.data.store import TokenRows


def planned_lengths(rows: TokenRows, rules: PlanRules) -> IntArray:
    """Give what each row counts.

    A padded row with answers becomes a batch row for each of them, all as wide as the longest, so it counts the most
    answers of any row times its longest path: never too little.
    """
    if rules.layout == "packed" or rules.budget is None or not len(rows) or not _is_tree(rows[0]):
        return rows.lengths
    shapes = [_paths_of(rows[number]) for number in range(len(rows))]
    most = max(count for count, _ in shapes)
    return np.array([most * longest for _, longest in shapes], dtype=np.int32)


def _is_tree(row: TokenRow) -> bool:
    return any(parent != NO_PARENT for parent in row.segment_parents)


def _paths_of(row: TokenRow) -> tuple[int, int]:
    """Give the number of paths of a row and the tokens of the longest."""
    ends: list[int] = []
    for length, parent in zip(row.segment_lengths, row.segment_parents, strict=True):
        ends.append(length + (0 if parent == NO_PARENT else ends[parent]))
    leaves = set(range(len(ends))) - set(row.segment_parents)
    return len(leaves), max(ends[leaf] for leaf in leaves)
