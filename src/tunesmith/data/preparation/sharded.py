# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""All shards of a preparation as one series of token rows: a few numbers a row in memory, tokens on disk."""

import hashlib
import json
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tunesmith.core.types import IntArray, RowRef, TokenRow
from tunesmith.data.preparation.shards import Shard, open_rows, read_arrays, trait_array, trait_names
from tunesmith.data.store import STORE_VERSION, Array, FlatRows, Piece, TokenStore, Traits

# Shards whose files are mapped at the same time; each takes a file descriptor.
_MAX_OPEN = 64


@dataclass(frozen=True, slots=True)
class PlacedShard:
    """A shard as a part of a data set."""

    shard: Shard
    dataset: str
    file: str


class ShardedStore(FlatRows):
    """Token rows of shards, one after the other."""

    def __init__(self, shards: Sequence[PlacedShard]) -> None:
        self.shards = tuple(shards)
        self.starts = np.concatenate(
            [[0], np.cumsum([placed.shard.num_rows for placed in self.shards], dtype=np.int64)]
        )
        self._begins: list[int] = self.starts.tolist()
        self._open: OrderedDict[int, TokenStore] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        """Leave what is mapped behind: another process maps it anew."""
        return {**self.__dict__, "_open": OrderedDict()}

    def __len__(self) -> int:
        """Count the rows."""
        return self._begins[-1]

    def __getitem__(self, index: int) -> TokenRow:
        """Give row `index`."""
        number, place = self._find(index)
        return self._rows(number)[place]

    def source(self, index: int) -> RowRef:
        """Say where row `index` came from."""
        number, place = self._find(index)
        return self._rows(number).source(place)

    @cached_property
    def lengths(self) -> IntArray:
        """Tokens of each row."""
        lengths: IntArray = self.gather("lengths")
        return lengths

    @cached_property
    def num_supervised(self) -> IntArray:
        """Tokens with a non-zero loss weight, of each row."""
        counts: IntArray = self.gather("num_supervised")
        return counts

    @cached_property
    def source_rows(self) -> npt.NDArray[np.int64]:
        """Number of the record in its file, of each row."""
        rows: npt.NDArray[np.int64] = self.gather("source_rows")
        return rows

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all shards' hashes (sha256, hex)."""
        parts = [[placed.dataset, placed.shard.content] for placed in self.shards if placed.shard.num_rows]
        return hashlib.sha256(json.dumps([STORE_VERSION, parts]).encode()).hexdigest()

    @property
    def traits(self) -> Traits:
        """Numbers of each row that judgement and splitting read; read from disk when they are asked for."""
        return _Traits(self)

    def pieces(self) -> Iterator[Piece]:
        """Give all rows flat, a shard at a time, read and not mapped, so that memory stays flat."""
        for number, placed in enumerate(self.shards):
            if not placed.shard.num_rows:
                continue
            found = read_arrays(placed.shard.path, "input_ids", "weights", "token_offsets")
            yield Piece(
                rows=np.arange(self._begins[number], self._begins[number + 1]),
                input_ids=found["input_ids"],
                weights=found["weights"],
                offsets=found["token_offsets"],
            )

    def gather(self, array: str) -> Array:
        """Read an array with an entry for each row from all shards."""
        parts = [read_arrays(placed.shard.path, array)[array] for placed in self.shards if placed.shard.num_rows]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int32)

    def _find(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = bisect_right(self._begins, index) - 1
        return number, index - self._begins[number]

    def _rows(self, number: int) -> TokenStore:
        rows = self._open.get(number)
        if rows is None:
            placed = self.shards[number]
            rows = self._open[number] = open_rows(placed.shard, placed.dataset, placed.file)
            if len(self._open) > _MAX_OPEN:
                self._open.popitem(last=False)
        else:
            self._open.move_to_end(number)
        return rows


class _Traits(Mapping[str, Array]):
    """Traits of all rows, each read when it is asked for."""

    def __init__(self, store: ShardedStore) -> None:
        self._store = store

    @cached_property
    def _names(self) -> list[str]:
        filled = [placed for placed in self._store.shards if placed.shard.num_rows]
        return trait_names(filled[0].shard.path) if filled else []

    def __getitem__(self, name: str) -> Array:
        if name not in self._names:
            raise KeyError(name)
        return self._store.gather(trait_array(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
