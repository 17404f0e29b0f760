# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Which token rows are trained on and in what order: sampling, the split of evaluation rows, and the mixing of sets.

All of it is decided on records that were kept, by their numbers and traits; a record that became several token rows
stays whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tunesmith.data.mixing import MixRules, mix_sets
from tunesmith.data.preparation.sharded import ShardedStore
from tunesmith.data.sampling import Chosen
from tunesmith.data.split import Split, SplitBy, SplitKeys, split_rows

Index = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class SetRows:
    """The token rows [first, last) of a store that come from one data set, and which of its records are wanted.

    `record_starts[i]` is the number, in the whole set, of the first record of the file block that shard
    `first_shard + i` was made from, less its number in the file.
    """

    store: ShardedStore
    chosen: Chosen
    first_shard: int
    record_starts: Index

    @property
    def first(self) -> int:
        """The first token row."""
        return int(self.store.starts[self.first_shard])

    @property
    def last(self) -> int:
        """The token row behind the last."""
        return int(self.store.starts[self.first_shard + len(self.record_starts)])

    @property
    def is_plain(self) -> bool:
        """Say whether each kept record is wanted once, in the order of the files."""
        order = self.chosen.order
        return order is None or bool(np.all(np.diff(order) > 0))

    @cached_property
    def _records(self) -> tuple[Index, Index]:
        """The kept records by number in the set, and the first token row of each."""
        sizes = np.diff(self.store.starts[self.first_shard : self.first_shard + len(self.record_starts) + 1])
        numbers = self.store.source_rows[self.first : self.last] + np.repeat(self.record_starts, sizes)
        is_first = np.ones(len(numbers), dtype=bool)
        is_first[1:] = numbers[1:] != numbers[:-1]
        places = np.flatnonzero(is_first)
        return numbers[places], places + self.first

    @property
    def kept(self) -> Index:
        """The first token row of each kept record."""
        return self._records[1]

    def wanted(self) -> Index:
        """The first token row of each wanted record that was kept, in the order and as often as it is wanted."""
        numbers, places = self._records
        if self.is_plain or self.chosen.order is None:
            return places
        found = np.searchsorted(numbers, self.chosen.order)
        found[found == len(numbers)] = 0
        is_kept = numbers[found] == self.chosen.order if len(numbers) else np.zeros(len(found), dtype=bool)
        wanted: Index = places[found[is_kept]]
        return wanted


def select_plain(sets: Sequence[SetRows], rules: MixRules) -> slice | None:
    """Give the range of token rows where all rows of the sets are simply wanted one after the other; else None."""
    is_simple = all(one.is_plain for one in sets) and (rules.strategy == "concat" or len(sets) < 2)
    return slice(sets[0].first, sets[-1].last) if is_simple and sets else None


def select(sets: Sequence[SetRows], rules: MixRules, *, without: Index | None = None) -> Index:
    """Give the token rows of the sets in their mixed order, without those of some records."""
    wanted = [one.wanted() for one in sets]
    if without is not None:
        wanted = [rows[~np.isin(rows, without)] for rows in wanted]
    order = mix_sets([len(rows) for rows in wanted], strategy=rules.strategy, weights=rules.weights, seed=rules.seed)
    firsts = np.concatenate(wanted)[order] if wanted else np.zeros(0, dtype=np.int64)
    return whole_records(sets, firsts)


def unreached(sets: Sequence[SetRows], index: Index, *, without: Index | None = None) -> Index:
    """Give the first token rows of wanted records that a mix leaves out, sorted."""
    wanted = np.concatenate([one.wanted() for one in sets])
    reached = index if without is None else np.concatenate([index, without])
    rows: Index = np.setdiff1d(wanted, reached)
    return rows


def whole_records(sets: Sequence[SetRows], firsts: Index) -> Index:
    """Give all token rows of the records that begin at some token rows."""
    starts = np.concatenate([one.kept for one in sets])
    ends = np.concatenate([np.append(one.kept, one.last)[1:] for one in sets])
    sizes = (ends - starts)[np.searchsorted(starts, firsts)]
    before = np.cumsum(sizes) - sizes
    rows: Index = _small(np.arange(int(sizes.sum())) + np.repeat(firsts - before, sizes))
    return rows


def hold_out(sets: Sequence[SetRows], val_size: float, *, seed: int, by: SplitBy, clusters: Any = None) -> Split:
    """Split the kept records of the sets, laid end to end; the rows of the split are first token rows of records."""
    firsts = np.concatenate([one.kept for one in sets])
    traits = sets[0].store.traits
    keys = SplitKeys(
        prompt=traits["prompt"][firsts],
        answer=traits["answer"][firsts],
        answer_chars=traits["answer_chars"][firsts],
        cluster=None if clusters is None else clusters[firsts],
    )
    split = split_rows(keys, val_size, seed=seed, by=by)
    return Split(train=firsts[split.train], held_out=firsts[split.held_out], num_shared=split.num_shared)


def _small(index: Index) -> Any:
    """Take half the memory where the numbers allow it."""
    return index.astype(np.int32) if len(index) and index.max() < 2**31 else index
