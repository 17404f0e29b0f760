# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Which rows of a data set are used: `split` takes a slice, `num_samples` draws by seed, `max_samples` takes the first.

It works on row numbers of the whole set, files laid end to end.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tunesmith.data.set_entry import SPLIT_PATTERN
from tunesmith.data.sets import DataSet

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The rows of a set of `num_rows` that are used, in their order; a row may come more than once. None means all."""

    num_rows: int
    order: Rows | None = None

    @property
    def distinct(self) -> Rows:
        """The rows in the order of the files, each once."""
        return np.arange(self.num_rows) if self.order is None else np.unique(self.order)

    def by_block(self, sizes: Sequence[int]) -> Iterator[tuple[int, ...] | None]:
        """Give the wanted rows of each block, counted from its first; None where all of them are wanted."""
        if self.order is None:
            yield from (None for _ in sizes)
            return
        rows = self.distinct
        borders = np.cumsum([0, *sizes])
        places = np.searchsorted(rows, borders)
        for number, size in enumerate(sizes):
            low, high = places[number], places[number + 1]
            yield None if high - low == size else tuple((rows[low:high] - borders[number]).tolist())

    def left_out(self) -> Rows:
        """Give the rows that are not used."""
        if self.order is None:
            return np.zeros(0, dtype=np.int64)
        is_used = np.zeros(self.num_rows, dtype=bool)
        is_used[self.order] = True
        return np.flatnonzero(~is_used)


def choose_rows(num_rows: int, data_set: DataSet, *, seed: int, max_samples: int | None = None) -> Chosen:
    """Choose rows; `num_samples` repeats rows where it exceeds the set."""
    rows = np.arange(num_rows)[_slice_of(data_set.split, num_rows)]
    if data_set.num_samples is not None and len(rows):
        generator = np.random.default_rng([seed, *data_set.name.encode()])
        drawn = generator.permutation(rows)[: data_set.num_samples]
        more = data_set.num_samples - len(drawn)
        rows = np.concatenate([drawn, generator.choice(rows, more)]) if more > 0 else drawn
    rows = rows[:max_samples]
    is_whole = data_set.num_samples is None and len(rows) == num_rows
    return Chosen(num_rows=num_rows, order=None if is_whole else rows)


def _slice_of(split: str, num_rows: int) -> slice:
    match = SPLIT_PATTERN.fullmatch(split)
    assert match is not None, f"split {split!r} was checked with the entry"
    return slice(*(_border(match[name], num_rows) for name in ("start", "end")))


def _border(text: str | None, num_rows: int) -> int | None:
    if not text:
        return None
    return num_rows * int(text[:-1]) // 100 if text.endswith("%") else int(text)
