# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The records of a training set as the rules of judgement see them: their traits, their places, and texts to quote.

A record that is read twice on purpose, or became several token rows, is one record; texts are decoded when quoted.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tunesmith.core.errors import Where
from tunesmith.core.types import RowKind, TokenRow
from tunesmith.data.grams import Numbers
from tunesmith.data.kept_clusters import kept_clusters
from tunesmith.data.source_numbers import SourceNumbers, source_numbers
from tunesmith.data.store import Array, TokenRows

Decode = Callable[[Sequence[int]], str]
Mask = npt.NDArray[np.bool_]

_QUOTED_CHARS = 100
_QUOTED_TOKENS = 100
# Some rules read the same one after the other; all of them would be a hundred bytes a record.
_TRAITS_KEPT = 4


class JudgedRows:
    """Records in the order of data set, file and position; every array has one entry a record."""

    def __init__(self, rows: TokenRows, *, kind: RowKind, decode: Decode, folder: Path | None = None) -> None:
        """`decode` gives the text of token ids; `folder` holds the shards of the rows."""
        self.rows, self.kind = rows, kind
        self._decode, self._folder = decode, folder
        self._trait = lru_cache(maxsize=_TRAITS_KEPT)(self._read_trait)

    def __len__(self) -> int:
        """Count the records."""
        return len(self._first_rows)

    def trait(self, name: str) -> Array:
        """Give a trait of each record (data/traits.py)."""
        return self._trait(name)

    def _read_trait(self, name: str) -> Array:
        values: Array = np.asarray(self.rows.traits[name])[self._first_rows]
        return values

    def has_flag(self, flag: int) -> Mask:
        """Say which records have a mark."""
        marked: Mask = (self.trait("flags") & flag) != 0
        return marked

    def clusters(self, threshold: float) -> Numbers:
        """Give each record the first record of its cluster of near-duplicates."""
        leaders = kept_clusters(self.rows, threshold, folder=self._folder)
        return first_of_equals(leaders[self._first_rows])

    def record_of_row(self) -> Numbers:
        """Give the record of each token row."""
        records = np.zeros(len(self._order), dtype=np.int64)
        records[self._order] = np.cumsum(self._is_first) - 1
        return records

    def places(self, records: Iterable[int]) -> list[Where]:
        """Name records by data set, file and position, one place a file."""
        rows = self._first_rows[np.unique(np.fromiter(records, dtype=np.int64))]
        files, positions = self._sources.files[rows], self._sources.records[rows]
        return [
            Where.of_rows(
                positions[files == file].tolist(),
                file=self._sources.names[file][1],
                dataset=self._sources.names[file][0],
            )
            for file in np.unique(files).tolist()
        ]

    def row_name(self, record: int) -> str:
        """Name a record for people: `row 5`, with its file where there are several."""
        name = f"row {self.row_number(record)}"
        names = self._sources.names
        if len(names) < 2:
            return name
        return f"{name} of {Path(names[self._sources.files[self._first_rows[record]]][1]).name}"

    def is_of_one_file(self, record: int, other: int) -> bool:
        """Say whether two records stand in one file."""
        files = self._sources.files[self._first_rows[[record, other]]]
        return bool(files[0] == files[1])

    def row_number(self, record: int) -> int:
        """Give the position of a record in its file."""
        return int(self._sources.records[self._first_rows[record]])

    def answer_tokens(self, record: int) -> npt.NDArray[np.int32]:
        """Give the tokens of the last answer (of a pair, the chosen one); of rows without answers, all."""
        row, span = self._row(record), self._answer_span(record)
        return row.input_ids[span]

    def quote_answer(self, record: int) -> str:
        """Quote the beginning of the answer."""
        return quoted(self._decode(self.answer_tokens(record)[:_QUOTED_TOKENS].tolist()))

    def answer_text(self, record: int) -> str:
        """Give the whole answer."""
        return self._decode(self.answer_tokens(record).tolist())

    def segment_text(self, record: int, name: str) -> str:
        """Give the text of the first segment of that name; empty where there is none."""
        row = self._row(record)
        if name not in row.segment_names:
            return ""
        place = row.segment_names.index(name)
        start = sum(row.segment_lengths[:place])
        return self._decode(row.input_ids[start : start + row.segment_lengths[place]].tolist())

    def prompt_text(self, record: int) -> str:
        """Give everything before the last answer, as the template writes it."""
        return self._decode(self._row(record).input_ids[: self._answer_span(record).start].tolist())

    def _row(self, record: int) -> TokenRow:
        return self.rows[int(self._first_rows[record])]

    def _answer_span(self, record: int) -> slice:
        row = self._row(record)
        if "chosen" in row.segment_names:
            place = row.segment_names.index("chosen")
            start = sum(row.segment_lengths[:place])
            return slice(start, start + row.segment_lengths[place])
        trained = np.flatnonzero(row.weights)
        if not len(trained) or self.kind not in ("supervised", "feedback"):
            return slice(0, row.num_tokens)
        gaps = np.flatnonzero(np.diff(trained) > 1)
        return slice(int(trained[gaps[-1] + 1] if len(gaps) else trained[0]), int(trained[-1]) + 1)

    @cached_property
    def _sources(self) -> SourceNumbers:
        return source_numbers(self.rows)

    @cached_property
    def _order(self) -> Numbers:
        """The token rows by file and record."""
        order: Numbers = np.lexsort([self._sources.records, self._sources.files])
        return order

    @cached_property
    def _is_first(self) -> Mask:
        """Say which token rows, in that order, are the first of their record."""
        is_first = np.ones(len(self._order), dtype=bool)
        is_first[1:] = np.diff(self._sources.files[self._order]) != 0
        is_first[1:] |= np.diff(self._sources.records[self._order]) != 0
        return is_first

    @cached_property
    def _first_rows(self) -> Numbers:
        """The first token row of each record."""
        return self._order[self._is_first]


def first_of_equals(values: npt.NDArray[Any]) -> Numbers:
    """Give each entry the first entry of equal value."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    leaders: Numbers = first[inverse].astype(np.int64)
    return leaders


def group_sizes(values: npt.NDArray[Any]) -> Numbers:
    """Give each entry the number of entries of equal value."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    sizes: Numbers = counts[inverse].astype(np.int64)
    return sizes


def combined(*hashes: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    """Make one hash of several."""
    mixed = np.zeros(len(hashes[0]), dtype=np.uint64)
    for values in hashes:
        mixed = (mixed ^ values.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(32)
    return mixed


def quoted(text: str) -> str:
    """Put the beginning of a text between quotation marks, on one line."""
    line = " ".join(text.split())
    return f"“{line[:_QUOTED_CHARS].rstrip()}…”" if len(line) > _QUOTED_CHARS else f"“{line}”"
