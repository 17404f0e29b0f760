# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rows gathered into groups by their lengths: bins filled best-fit up to so many tokens, or batches of like lengths.

Works on counts of equal lengths, not row by row, so that millions of rows take about a second and a few bytes each.
It knows nothing of seeds, steps or ranks.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from tunesmith.core.types import IntArray

MicroBatch = tuple[int, ...]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class RowGroups(Sequence[MicroBatch]):
    """Groups of row numbers in two flat arrays: group i is `rows[offsets[i] : offsets[i + 1]]`."""

    rows: npt.NDArray[np.integer[Any]]
    offsets: Indices

    def __len__(self) -> int:
        """Count the groups."""
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> MicroBatch: ...
    @overload
    def __getitem__(self, index: slice) -> list[MicroBatch]: ...
    def __getitem__(self, index: int | slice) -> MicroBatch | list[MicroBatch]:
        """Give the row numbers of a group, or of several."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        return tuple(self.rows[self.offsets[number] : self.offsets[number + 1]].tolist())

    def take(self, groups: npt.NDArray[np.integer[Any]]) -> "RowGroups":
        """Give some groups in the order named."""
        sizes = np.diff(self.offsets)[groups]
        offsets = offsets_of(sizes)
        first = self.offsets[groups] - offsets[:-1]
        return RowGroups(rows=self.rows[np.arange(offsets[-1]) + np.repeat(first, sizes)], offsets=offsets)

    def span(self, start: int, end: int) -> "RowGroups":
        """Give the groups from `start` to before `end`, without a copy of their rows."""
        borders = self.offsets[start : end + 1]
        return RowGroups(rows=self.rows[borders[0] : borders[-1]], offsets=borders - borders[0])

    def totals(self, lengths: IntArray) -> Indices:
        """Sum the lengths of each group's rows."""
        before = offsets_of(lengths[self.rows])
        return before[self.offsets[1:]] - before[self.offsets[:-1]]


def offsets_of(sizes: npt.NDArray[np.integer[Any]]) -> Indices:
    """Give the borders of consecutive spans of some sizes, from 0 on."""
    offsets = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return offsets


def single_rows(order: npt.NDArray[np.integer[Any]]) -> RowGroups:
    """Make a group of each row."""
    return RowGroups(rows=order, offsets=np.arange(len(order) + 1, dtype=np.int64))


def pack_rows(lengths: IntArray, order: Sequence[int] | IntArray, capacity: int) -> RowGroups:
    """Fill bins of `capacity` tokens best-fit, longest rows first; `order` breaks ties.

    No row is cut or left out; one that is longer than the capacity has a bin of its own. How many bins there are
    depends on the lengths alone.
    """
    rows, sizes = _longest_first(lengths, order, most=capacity)
    if not len(rows):
        return single_rows(rows)
    values, counts = np.unique(sizes, return_counts=True)
    open_bins = _OpenBins(capacity)
    filled = [open_bins.place(int(values[i]), int(counts[i])) for i in range(len(values) - 1, -1, -1)]
    bin_of = np.concatenate(filled)
    return RowGroups(rows=rows[np.argsort(bin_of, kind="stable")], offsets=offsets_of(np.bincount(bin_of)))


def group_rows(lengths: IntArray, order: Sequence[int] | IntArray, budget: int) -> RowGroups:
    """Gather rows of like lengths so that rows × longest is at most `budget`, longest rows first.

    `order` breaks ties; a row that is longer than the budget is alone. How many groups there are depends on the lengths
    alone.
    """
    rows, sizes = _longest_first(lengths, order, most=budget)
    borders = [0]
    while borders[-1] < len(rows):
        borders.append(min(borders[-1] + budget // int(sizes[borders[-1]]), len(rows)))
    return RowGroups(rows=rows, offsets=np.array(borders, dtype=np.int64))


def _longest_first(lengths: IntArray, order: Sequence[int] | IntArray, *, most: int) -> tuple[IntArray, IntArray]:
    """Sort rows by length, the longest first, and give their lengths between 1 and `most`."""
    rows = np.asarray(order, dtype=np.int32)
    sizes = np.clip(lengths[rows], 1, most).astype(np.uint16 if most < 1 << 16 else np.int32)
    by_length = np.argsort(sizes.max(initial=0) - sizes, kind="stable")
    return rows[by_length], sizes[by_length].astype(np.int32)


class _OpenBins:
    """Bins by their free tokens. Rows of one length are placed together, as one by one they would be."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._bins: dict[int, list[IntArray]] = {}
        self._free: list[int] = []  # the keys of _bins, sorted
        self._num_bins = 0

    def place(self, length: int, count: int) -> IntArray:
        """Place `count` rows of a length, no longer than those before, each into the fullest bin that has room.

        Gives the bin of each. A bin that takes one of them takes as many as fit, since it is then the fullest.
        """
        placed: list[IntArray] = []
        while count:
            free, bins = self._fullest(length, count)
            each = free // length
            whole = min(len(bins), count // each)
            rest = count - whole * each if whole < len(bins) else 0
            partly = whole + (rest > 0)
            placed += [np.repeat(bins[:whole], each), np.repeat(bins[whole:partly], rest)]
            self._put_back(free - each * length, bins[:whole])
            self._put_back(free - rest * length, bins[whole:partly])
            self._put_back(free, bins[partly:])
            count -= whole * each + rest
        return np.concatenate(placed)

    def _fullest(self, length: int, count: int) -> tuple[int, IntArray]:
        """Take out the bins with the least room for a length, or open as many as `count` rows need."""
        place = bisect_left(self._free, length)
        if place < len(self._free):
            free = self._free.pop(place)
            return free, np.sort(np.concatenate(self._bins.pop(free)))
        first, needed = self._num_bins, -(-count // (self._capacity // length))
        self._num_bins += needed
        return self._capacity, np.arange(first, self._num_bins, dtype=np.int32)

    def _put_back(self, free: int, bins: IntArray) -> None:
        if not len(bins) or not free:
            return
        if free not in self._bins:
            insort(self._free, free)
        self._bins.setdefault(free, []).append(bins)
