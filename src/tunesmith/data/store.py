# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Tokenised rows: the contract that training and checks read them by, rows in flat arrays, and views of them.

It holds finished rows only; where they came from is kept per row, why others are missing stands in the ledger.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tunesmith.core.types import FloatArray, IntArray, RowRef, TokenRow

STORE_VERSION = 2

Array = npt.NDArray[Any]
# Numbers of each token row by name, with the rows along the first axis; what they mean is told in data/traits.py.
Traits = Mapping[str, Array]

# Array name → type. "_offsets" arrays have one entry more than there are rows.
ARRAYS: dict[str, type[np.generic]] = {
    "input_ids": np.int32,
    "weights": np.float32,
    "token_offsets": np.int64,
    "segment_lengths": np.int32,
    "segment_parents": np.int32,
    "segment_names": np.int32,
    "segment_offsets": np.int64,
    "source_files": np.int32,
    "source_rows": np.int64,
    "labels": np.float32,
    "channels": np.int32,
}
_NO_CHANNEL = -1


class TokenRows(Protocol):
    """Token rows by number, wherever they lie; `lengths`, `num_supervised` and `traits` have an entry for each row."""

    def __len__(self) -> int:
        """Count the rows."""
        ...

    def __getitem__(self, index: int, /) -> TokenRow:
        """Give row `index`."""
        ...

    @property
    def lengths(self) -> IntArray:
        """Tokens of each row."""
        ...

    @property
    def num_supervised(self) -> IntArray:
        """Tokens with a non-zero loss weight, of each row."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of the rows in their order (sha256, hex)."""
        ...

    @property
    def traits(self) -> Traits:
        """Numbers of each row that judgement and splitting read."""
        ...

    def source(self, index: int, /) -> RowRef:
        """Say where row `index` came from."""
        ...


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Some rows laid out flat: the tokens of row `rows[i]` are [offsets[i], offsets[i + 1]) of the two arrays."""

    rows: npt.NDArray[np.int64]
    input_ids: IntArray
    weights: FloatArray
    offsets: npt.NDArray[np.int64]

    def take(self, picked: npt.NDArray[np.integer[Any]], rows: npt.NDArray[np.int64]) -> "Piece":
        """Give the rows at some places of this piece under other numbers."""
        if len(picked) == len(self.rows) and np.array_equal(picked, np.arange(len(picked))):
            return Piece(rows=rows, input_ids=self.input_ids, weights=self.weights, offsets=self.offsets)
        lengths = np.diff(self.offsets)[picked]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        tokens = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][picked] - offsets[:-1], lengths)
        return Piece(rows=rows, input_ids=self.input_ids[tokens], weights=self.weights[tokens], offsets=offsets)


class FlatRows(ABC):
    """Base of rows whose tokens can be had many rows at a time."""

    @abstractmethod
    def pieces(self) -> Iterator[Piece]:
        """Give all rows flat."""


@dataclass(frozen=True, kw_only=True)
class TokenStore(FlatRows):
    """Rows in a few flat arrays; `store[i]` is a `TokenRow` over views of them, without a copy.

    `names` are the distinct segment names and channels, and `files` the distinct (dataset, file) pairs that the arrays
    point to; a missing label is NaN.
    """

    arrays: dict[str, Array]
    names: tuple[str, ...]
    files: tuple[tuple[str, str], ...]
    traits: Traits = field(default_factory=dict)

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.arrays["token_offsets"]) - 1

    def __getitem__(self, index: int) -> TokenRow:
        """Give row `index`."""
        source = self.source(index)
        tokens = slice(*self.arrays["token_offsets"][index : index + 2])
        segments = slice(*self.arrays["segment_offsets"][index : index + 2])
        label, channel = float(self.arrays["labels"][index]), int(self.arrays["channels"][index])
        return TokenRow(
            source=source,
            input_ids=self.arrays["input_ids"][tokens],
            weights=self.arrays["weights"][tokens],
            segment_lengths=tuple(self.arrays["segment_lengths"][segments].tolist()),
            segment_parents=tuple(self.arrays["segment_parents"][segments].tolist()),
            segment_names=tuple(self.names[name] for name in self.arrays["segment_names"][segments]),
            label=None if np.isnan(label) else label,
            channel=None if channel == _NO_CHANNEL else self.names[channel],
        )

    def source(self, index: int) -> RowRef:
        """Say where row `index` came from."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        dataset, file = self.files[self.arrays["source_files"][index]]
        return RowRef(dataset=dataset, file=file, row=int(self.arrays["source_rows"][index]))

    @cached_property
    def lengths(self) -> IntArray:
        """Tokens of each row."""
        lengths: IntArray = np.diff(self.arrays["token_offsets"]).astype(np.int32)
        return lengths

    @cached_property
    def num_supervised(self) -> IntArray:
        """Tokens with a non-zero loss weight, of each row."""
        before = np.concatenate([[0], np.cumsum(self.arrays["weights"] != 0)])
        counts: IntArray = np.diff(before[self.arrays["token_offsets"]]).astype(np.int32)
        return counts

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything in the store (sha256, hex)."""
        digest = hashlib.sha256(json.dumps([STORE_VERSION, self.names, self.files]).encode())
        for name, dtype in ARRAYS.items():
            array = np.ascontiguousarray(self.arrays[name], dtype=dtype)
            if name == "channels" and not (array != _NO_CHANNEL).any():
                continue  # rows without channels are the rows they were before there were any
            digest.update(f"{name}:{array.size};".encode())
            digest.update(array.data)
        return digest.hexdigest()

    def pieces(self) -> Iterator[Piece]:
        """Give all rows flat."""
        yield Piece(
            rows=np.arange(len(self)),
            input_ids=self.arrays["input_ids"],
            weights=self.arrays["weights"],
            offsets=self.arrays["token_offsets"],
        )


class RowsView(FlatRows):
    """Some rows of others in an order of their own; a row may come more than once."""

    def __init__(self, rows: TokenRows, index: npt.NDArray[np.integer[Any]]) -> None:
        """`index` holds numbers of `rows`."""
        self._rows = rows
        self._index = index

    def __len__(self) -> int:
        """Count the rows."""
        return len(self._index)

    def __getitem__(self, index: int) -> TokenRow:
        """Give row `index`."""
        return self._rows[self._place(index)]

    def source(self, index: int) -> RowRef:
        """Say where row `index` came from."""
        return self._rows.source(self._place(index))

    def _place(self, index: int) -> int:
        if not 0 <= index < len(self._index):
            raise IndexError(index)
        return int(self._index[index])

    @property
    def rows(self) -> TokenRows:
        """The rows that this is a view of."""
        return self._rows

    @property
    def index(self) -> npt.NDArray[np.integer[Any]]:
        """The number that each row has there."""
        return self._index

    @cached_property
    def lengths(self) -> IntArray:
        """Tokens of each row."""
        lengths: IntArray = self._rows.lengths[self._index]
        return lengths

    @cached_property
    def num_supervised(self) -> IntArray:
        """Tokens with a non-zero loss weight, of each row."""
        counts: IntArray = self._rows.num_supervised[self._index]
        return counts

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the rows in their order (sha256, hex)."""
        digest = hashlib.sha256(self._rows.fingerprint.encode())
        digest.update(self._index.astype(np.int64).tobytes())
        return digest.hexdigest()

    @property
    def traits(self) -> Traits:
        """Numbers of each row that judgement and splitting read."""
        return _TraitsView(self._rows.traits, self._index)

    def pieces(self) -> Iterator[Piece]:
        """Give all rows flat, in the order of the rows below."""
        order = np.argsort(self._index, kind="stable")
        places = self._index[order]
        for piece in pieces_of(self._rows):
            for first, last in _runs(piece.rows):
                start = piece.rows[first]
                low, high = np.searchsorted(places, [start, piece.rows[last] + 1])
                if low < high:
                    yield piece.take(places[low:high] - start + first, order[low:high])


def _runs(rows: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Cut row numbers into runs of consecutive ones: first and last place of each."""
    if not len(rows):
        return []
    ends = np.flatnonzero(np.diff(rows) != 1)
    firsts, lasts = [0, *(ends + 1).tolist()], [*ends.tolist(), len(rows) - 1]
    return list(zip(firsts, lasts, strict=True))


class _TraitsView(Mapping[str, Array]):
    """Traits of the rows of a view, gathered when they are read."""

    def __init__(self, traits: Traits, index: npt.NDArray[np.integer[Any]]) -> None:
        self._traits, self._index = traits, index

    def __getitem__(self, name: str) -> Array:
        values: Array = self._traits[name][self._index]
        return values

    def __iter__(self) -> Iterator[str]:
        return iter(self._traits)

    def __len__(self) -> int:
        return len(self._traits)


_PIECE_ROWS = 4096


def pieces_of(rows: TokenRows) -> Iterator[Piece]:
    """Give all rows flat, some thousand at a time, in any order; a row that comes twice is given twice."""
    if isinstance(rows, FlatRows):
        yield from rows.pieces()
        return
    for start in range(0, len(rows), _PIECE_ROWS):
        numbers = np.arange(start, min(start + _PIECE_ROWS, len(rows)))
        found = [rows[int(number)] for number in numbers]
        yield Piece(
            rows=numbers,
            input_ids=_concatenate([row.input_ids for row in found], np.int32),
            weights=_concatenate([row.weights for row in found], np.float32),
            offsets=_offsets([row.num_tokens for row in found]),
        )


def build_store(rows: Iterable[TokenRow]) -> TokenStore:
    """Lay rows out in flat arrays, in the order given."""
    names: dict[str, int] = {}
    files: dict[tuple[str, str], int] = {}
    input_ids: list[IntArray] = []
    weights: list[FloatArray] = []
    segments: list[tuple[int, int, int]] = []
    per_row: list[tuple[int, int, int, int, float, int]] = []
    for row in rows:
        input_ids.append(row.input_ids)
        weights.append(row.weights)
        named = [names.setdefault(name, len(names)) for name in row.segment_names]
        segments.extend(zip(row.segment_lengths, row.segment_parents, named, strict=True))
        file = files.setdefault((row.source.dataset, row.source.file), len(files))
        label = float("nan") if row.label is None else row.label
        channel = _NO_CHANNEL if row.channel is None else names.setdefault(row.channel, len(names))
        per_row.append((len(row.input_ids), len(row.segment_lengths), file, row.source.row, label, channel))
    segment_table = np.array(segments, dtype=np.int32).reshape(-1, 3)
    row_columns = list(zip(*per_row, strict=True)) or [()] * 6
    arrays = {
        "input_ids": _concatenate(input_ids, np.int32),
        "weights": _concatenate(weights, np.float32),
        "token_offsets": _offsets(row_columns[0]),
        "segment_lengths": segment_table[:, 0],
        "segment_parents": segment_table[:, 1],
        "segment_names": segment_table[:, 2],
        "segment_offsets": _offsets(row_columns[1]),
        "source_files": np.array(row_columns[2], dtype=np.int32),
        "source_rows": np.array(row_columns[3], dtype=np.int64),
        "labels": np.array(row_columns[4], dtype=np.float32),
        "channels": np.array(row_columns[5], dtype=np.int32),
    }
    return TokenStore(arrays=arrays, names=tuple(names), files=tuple(files))


def _concatenate(parts: Sequence[Array], dtype: type[np.generic]) -> Array:
    return np.concatenate(parts).astype(dtype, copy=False) if parts else np.zeros(0, dtype=dtype)


def _offsets(lengths: Sequence[int]) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.array(lengths, dtype=np.int64))]).astype(np.int64)
