# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Joining numbered things by pairs, directly or by a chain: each points to the smallest number it is joined with."""

from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[Any]


def join(leaders: Numbers, left: Numbers, right: Numbers) -> None:
    """Unite the groups of pairs, in place; `leaders[i]` is the first of the group of i before and after.

    Start from `np.arange(n)`. All pairs are followed at once (Shiloach and Vishkin, 1982): no pair costs Python.
    """
    while len(left):
        first, second = leaders[left], leaders[right]
        differ = first != second
        left, right = left[differ], right[differ]
        low = np.minimum(first[differ], second[differ])
        np.minimum.at(leaders, np.maximum(first[differ], second[differ]), low)
        while not np.array_equal(shorter := leaders[leaders], leaders):
            leaders[:] = shorter
