# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Bins hold every row, never overflow, and are filled as by placing row after row; real sets fill them."""

from bisect import bisect_left, insort
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from tunesmith.core.types import IntArray
from tunesmith.data.bins import RowGroups, group_rows, pack_rows, single_rows
from tunesmith.data.sources.base import Record, readers

many_lengths = st.lists(st.integers(1, 50), max_size=70)


def lengths_of(values: list[int]) -> IntArray:
    return np.array(values, dtype=np.int32)


def packed_one_by_one(values: list[int], capacity: int) -> list[tuple[int, ...]]:
    """Best fit as a textbook has it: each row, the longest first, into the fullest bin that has room."""
    bins: list[list[int]] = []
    room: list[tuple[int, int]] = []
    for row in sorted(range(len(values)), key=lambda row: -min(values[row], capacity)):
        size = min(values[row], capacity)
        place = bisect_left(room, (size, -1))
        free, index = room.pop(place) if place < len(room) else (capacity, len(bins))
        if index == len(bins):
            bins.append([])
        bins[index].append(row)
        insort(room, (free - size, index))
    return [tuple(members) for members in bins]


@settings(max_examples=200, deadline=None)
@given(many_lengths, st.integers(10, 60))
def test_bins_are_those_of_placing_row_after_row(values: list[int], capacity: int) -> None:
    assert list(pack_rows(lengths_of(values), range(len(values)), capacity)) == packed_one_by_one(values, capacity)


@settings(max_examples=100, deadline=None)
@given(many_lengths, st.integers(10, 60))
def test_bins_hold_every_row_and_never_overflow(values: list[int], capacity: int) -> None:
    bins = pack_rows(lengths_of(values), range(len(values)), capacity)
    assert sorted(row for members in bins for row in members) == list(range(len(values)))
    for members in bins:
        assert len(members) == 1 or sum(values[row] for row in members) <= capacity


@settings(max_examples=100, deadline=None)
@given(many_lengths, st.integers(10, 200))
def test_groups_hold_every_row_within_the_padded_budget(values: list[int], budget: int) -> None:
    groups = group_rows(lengths_of(values), range(len(values)), budget)
    assert sorted(row for members in groups for row in members) == list(range(len(values)))
    for members in groups:
        assert len(members) == 1 or len(members) * max(values[row] for row in members) <= budget
    lengths = [values[row] for members in groups for row in members]
    assert [min(length, budget) for length in lengths] == sorted((min(each, budget) for each in values), reverse=True)


@settings(max_examples=50, deadline=None)
@given(many_lengths, st.integers(10, 60))
def test_the_number_of_bins_does_not_depend_on_the_order(values: list[int], capacity: int) -> None:
    order = np.random.default_rng(len(values)).permutation(len(values)).astype(np.int32)
    for gather in (pack_rows, group_rows):
        in_order = gather(lengths_of(values), range(len(values)), capacity)
        assert len(gather(lengths_of(values), order, capacity)) == len(in_order)


def test_groups_are_taken_and_measured() -> None:
    groups = RowGroups(rows=lengths_of([4, 2, 7, 1, 0]), offsets=np.array([0, 2, 2, 5]))
    assert list(groups) == [(4, 2), (), (7, 1, 0)] and groups[-1] == (7, 1, 0) and groups[1:] == [(), (7, 1, 0)]
    assert list(groups.take(np.array([2, 0]))) == [(7, 1, 0), (4, 2)]
    assert list(groups.span(1, 3)) == [(), (7, 1, 0)]
    assert groups.totals(np.arange(8, dtype=np.int32) * 10).tolist() == [60, 0, 80]
    assert list(single_rows(groups.rows)) == [(4,), (2,), (7,), (1,), (0,)]
    with pytest.raises(IndexError):
        groups[3]


@pytest.mark.parametrize("name", ["alpaca_en.json", "alpaca_zh.json"])
def test_real_rows_fill_their_bins(assets: Path, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    entries = readers.get("json")(assets / "datasets" / "sft" / name)
    texts = ["\n".join(map(str, entry.values.values())) for entry in entries if isinstance(entry, Record)]
    rows = tokenizer(texts, return_attention_mask=False, verbose=False)["input_ids"]
    lengths = np.minimum([len(ids) + 20 for ids in rows], 2048).astype(np.int32)
    bins = pack_rows(lengths, range(len(lengths)), 2048)
    filled = np.sort(bins.totals(lengths))[1:]  # the last part-filled bin aside
    assert filled.sum() / (2048 * len(filled)) >= 0.98
