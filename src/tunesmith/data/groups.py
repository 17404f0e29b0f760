# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rows that belong together because they share a key (a prompt, a long answer, a cluster), directly or by a chain.

It works on arrays of hashes and knows nothing of what they are hashes of.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from tunesmith.data.chains import join

Index = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

# An answer of fewer characters is like a label (a class, yes or no, a number): rows that share it have little else in
# common.
LONG_ANSWER_CHARS = 40
# An answer that more than a tenth of the rows share (and more than a few) is boilerplate or a class: one side cannot
# hold all of them without becoming another kind of data.
_COMMON_SHARE, _COMMON_ROWS = 0.1, 8
# A label that fewer rows have cannot be spread evenly.
_MIN_ROWS_OF_LABEL = 5


def group_by_keys(num_rows: int, keys: Iterable[tuple[npt.NDArray[Any], Mask | None]]) -> Rows:
    """Number the group of each row: rows that share a value of some key are of one group, and so are their groups.

    A key comes with the rows for which it counts; None: for all. Groups are numbered by their first row.
    """
    pairs = [_pairs(values, counts) for values, counts in keys]
    joined = np.concatenate(pairs, axis=1) if pairs else np.zeros((2, 0), dtype=np.int32)
    leaders = np.arange(num_rows, dtype=np.int32)
    join(leaders, joined[0], joined[1])
    numbers = np.cumsum(leaders == np.arange(num_rows, dtype=np.int32), dtype=np.int32) - np.int32(1)
    groups: Rows = numbers[leaders]
    return groups


def _pairs(values: npt.NDArray[Any], counts: Mask | None) -> Rows:
    """Pair each row that counts with the next one that has its value."""
    rows = np.flatnonzero(np.ones(len(values), dtype=bool) if counts is None else counts).astype(np.int32)
    order, is_repeated = _sorted(values[rows])
    rows = rows[order]
    pairs: Rows = np.stack([rows[:-1][is_repeated], rows[1:][is_repeated]])
    return pairs


def _sorted(values: npt.NDArray[Any]) -> tuple[Rows, Mask]:
    """Give the order of the values, and of each but the first whether it equals the one before."""
    order = np.argsort(values, kind="stable").astype(np.int32)
    ordered = values[order]
    is_repeated: Mask = ordered[1:] == ordered[:-1]
    return order, is_repeated


def grouping_answers(answers: npt.NDArray[np.uint64], chars: npt.NDArray[Any]) -> Mask:
    """Say of which rows the answer counts as a key: long ones that are not common to a great part of the rows."""
    return (chars >= LONG_ANSWER_CHARS) & (_counts(answers) <= max(_COMMON_ROWS, _COMMON_SHARE * len(answers)))


def label_of_rows(answers: npt.NDArray[np.uint64], chars: npt.NDArray[Any]) -> Rows:
    """Number the label of each row whose answer is like a label and shared by several rows; 0 for all others."""
    rows = np.flatnonzero((chars < LONG_ANSWER_CHARS) & (chars > 0))
    rows = rows[_counts(answers[rows]) >= _MIN_ROWS_OF_LABEL]
    labels = np.zeros(len(answers), dtype=np.int32)
    labels[rows] = np.unique(answers[rows], return_inverse=True)[1] + 1
    return labels


def _counts(values: npt.NDArray[np.uint64]) -> Rows:
    """Say of each row how many rows have its value."""
    order, is_repeated = _sorted(values)
    starts = np.flatnonzero(np.concatenate([np.ones(min(len(values), 1), dtype=bool), ~is_repeated]))
    lengths = np.diff(starts, append=len(values)).astype(np.int32)
    counts = np.zeros(len(values), dtype=np.int32)
    counts[order] = np.repeat(lengths, lengths)
    return counts
