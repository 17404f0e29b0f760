# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Tokenised rows in a few flat arrays, in memory or memory-mapped from a folder of .npy files.

It holds finished rows only; where they came from is kept per row, why others are missing stands in the ledger.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tunesmith.core.types import FloatArray, IntArray, RowRef, TokenRow

STORE_VERSION = 1
_META = "store.json"

# Array name → type on disk. "_offsets" arrays have one entry more than there are rows.
_ARRAYS: dict[str, type[np.generic]] = {
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
}


@dataclass(frozen=True, kw_only=True)
class TokenStore:
    """All rows of one data set split; `store[i]` is a `TokenRow` over views of the arrays, without a copy.

    `names` are the distinct segment names and `files` the distinct (dataset, file) pairs that the arrays point to; a
    missing label is NaN.
    """

    arrays: dict[str, npt.NDArray[Any]]
    names: tuple[str, ...]
    files: tuple[tuple[str, str], ...]

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.arrays["token_offsets"]) - 1

    def __getitem__(self, index: int) -> TokenRow:
        """Give row `index`."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        tokens = slice(*self.arrays["token_offsets"][index : index + 2])
        segments = slice(*self.arrays["segment_offsets"][index : index + 2])
        dataset, file = self.files[self.arrays["source_files"][index]]
        label = float(self.arrays["labels"][index])
        return TokenRow(
            source=RowRef(dataset=dataset, file=file, row=int(self.arrays["source_rows"][index])),
            input_ids=self.arrays["input_ids"][tokens],
            weights=self.arrays["weights"][tokens],
            segment_lengths=tuple(self.arrays["segment_lengths"][segments].tolist()),
            segment_parents=tuple(self.arrays["segment_parents"][segments].tolist()),
            segment_names=tuple(self.names[name] for name in self.arrays["segment_names"][segments]),
            label=None if np.isnan(label) else label,
        )

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
        for name, dtype in _ARRAYS.items():
            array = np.ascontiguousarray(self.arrays[name], dtype=dtype)
            digest.update(f"{name}:{array.size};".encode())
            digest.update(array.data)
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Write the arrays as .npy files and their tables as JSON into an existing folder."""
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", self.arrays[name], allow_pickle=False)
        meta = {"version": STORE_VERSION, "names": self.names, "files": self.files, "fingerprint": self.fingerprint}
        (folder / _META).write_text(json.dumps(meta, ensure_ascii=False, indent=1), encoding="utf-8")


def load_store(folder: Path) -> TokenStore:
    """Open a saved store; the arrays stay on disk until they are read."""
    meta = json.loads((folder / _META).read_text(encoding="utf-8"))
    arrays = {name: _map(folder / f"{name}.npy") for name in _ARRAYS}
    return TokenStore(arrays=arrays, names=tuple(meta["names"]), files=tuple((d, f) for d, f in meta["files"]))


def _map(path: Path) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def build_store(rows: Iterable[TokenRow]) -> TokenStore:
    """Lay rows out in flat arrays, in the order given."""
    names: dict[str, int] = {}
    files: dict[tuple[str, str], int] = {}
    input_ids: list[IntArray] = []
    weights: list[FloatArray] = []
    segments: list[tuple[int, int, int]] = []
    per_row: list[tuple[int, int, int, int, float]] = []
    for row in rows:
        input_ids.append(row.input_ids)
        weights.append(row.weights)
        named = [names.setdefault(name, len(names)) for name in row.segment_names]
        segments.extend(zip(row.segment_lengths, row.segment_parents, named, strict=True))
        file = files.setdefault((row.source.dataset, row.source.file), len(files))
        label = float("nan") if row.label is None else row.label
        per_row.append((len(row.input_ids), len(row.segment_lengths), file, row.source.row, label))
    segment_table = np.array(segments, dtype=np.int32).reshape(-1, 3)
    row_columns = list(zip(*per_row, strict=True)) or [()] * 5
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
    }
    return TokenStore(arrays=arrays, names=tuple(names), files=tuple(files))


def _concatenate(parts: Sequence[npt.NDArray[Any]], dtype: type[np.generic]) -> npt.NDArray[Any]:
    return np.concatenate(parts).astype(dtype, copy=False) if parts else np.zeros(0, dtype=dtype)


def _offsets(lengths: Sequence[int]) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.array(lengths, dtype=np.int64))]).astype(np.int64)
