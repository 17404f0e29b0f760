# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rows that belong together because they share a key (a prompt, a long answer, a cluster), directly or by a chain.

It works on arrays of hashes and knows nothing of what they are hashes of.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

# An answer of fewer characters is like a label (a class, yes or no, a number): rows that share it have little else in
# common.
LONG_ANSWER_CHARS = 40
# An answer that more than a tenth of the rows share (and more than a few) is boilerplate or a class: one side cannot
# hold all of them without becoming another kind of data.
_COMMON_SHARE, _COMMON_ROWS = 0.1, 8
# A label that fewer rows have cannot be spread evenly.
_MIN_ROWS_OF_LABEL = 5


def group_by_keys(num_rows: int, keys: Iterable[tuple[npt.NDArray[Any], Mask | None]]) -> Index:
    """Number the group of each row: rows that share a value of some key are of one group, and so are their groups.

    A key comes with the rows for which it counts; None: for all. Groups are numbered by their first row.
    """
    ends: list[Index] = []
    for values, counts in keys:
        rows = np.arange(num_rows) if counts is None else np.flatnonzero(counts)
        _, first, inverse = np.unique(values[rows], return_index=True, return_inverse=True)
        pairs = np.stack([rows[first[inverse]], rows])
        ends.append(pairs[:, pairs[0] != pairs[1]])
    joined = np.concatenate(ends, axis=1) if ends else np.zeros((2, 0), dtype=np.int64)
    leaders = _leaders(num_rows, joined[0], joined[1])
    groups: Index = np.unique(leaders, return_inverse=True)[1].astype(np.int64)
    return groups


def _leaders(num_rows: int, left: Index, right: Index) -> Index:
    """Give each row the smallest row it is joined with over any chain of pairs."""
    leader = np.arange(num_rows)
    while len(left):
        first, second = leader[left], leader[right]
        differ = first != second
        left, right = left[differ], right[differ]
        low = np.minimum(first[differ], second[differ])
        np.minimum.at(leader, np.maximum(first[differ], second[differ]), low)
        while not np.array_equal(shorter := leader[leader], leader):
            leader = shorter
    return leader


def grouping_answers(answers: npt.NDArray[np.uint64], chars: npt.NDArray[Any]) -> Mask:
    """Say of which rows the answer counts as a key: long ones that are not common to a great part of the rows."""
    return (chars >= LONG_ANSWER_CHARS) & (_counts(answers) <= max(_COMMON_ROWS, _COMMON_SHARE * len(answers)))


def label_of_rows(answers: npt.NDArray[np.uint64], chars: npt.NDArray[Any]) -> Index:
    """Number the label of each row whose answer is like a label and shared by several rows; 0 for all others."""
    values, inverse, counts = np.unique(answers, return_inverse=True, return_counts=True)
    is_label = (chars < LONG_ANSWER_CHARS) & (chars > 0) & (counts[inverse] >= _MIN_ROWS_OF_LABEL)
    used = np.zeros(len(values), dtype=bool)
    used[inverse[is_label]] = True
    numbers = np.cumsum(used)
    return np.where(is_label, numbers[inverse], 0)


def _counts(values: npt.NDArray[np.uint64]) -> Index:
    """Say of each row how many rows have its value."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    found: Index = counts[inverse]
    return found
