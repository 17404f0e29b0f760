# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A token store gives back exactly the rows it was built from, in memory and from disk."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tunesmith.core.types import RowRef, TokenRow
from tunesmith.data.store import build_store, load_store


def make_rows() -> list[TokenRow]:
    plain = TokenRow(
        source=RowRef(dataset="a", file="a.json", row=4),
        input_ids=np.array([5, 6, 7], dtype=np.int32),
        weights=np.array([0, 1, 0.5], dtype=np.float32),
        segment_lengths=(3,),
    )
    pair = TokenRow(
        source=RowRef(dataset="b", file="b.jsonl", row=0),
        input_ids=np.arange(6, dtype=np.int32),
        weights=np.array([0, 0, 1, 1, 1, 1], dtype=np.float32),
        segment_lengths=(2, 3, 1),
        segment_parents=(-1, 0, 0),
        segment_names=("prompt", "chosen", "rejected"),
        label=1.0,
    )
    return [plain, pair, replace(plain, source=RowRef(dataset="a", file="a.json", row=9))]


def assert_same(found: TokenRow, expected: TokenRow) -> None:
    assert found.input_ids.tolist() == expected.input_ids.tolist()
    assert found.weights.tolist() == expected.weights.tolist()
    assert found.source == expected.source and found.label == expected.label
    assert found.segment_lengths == expected.segment_lengths
    assert found.segment_parents == expected.segment_parents
    assert found.segment_names == expected.segment_names


def test_rows_come_back_from_memory_and_disk(tmp_path: Path) -> None:
    rows = make_rows()
    store = build_store(rows)
    store.save(tmp_path)
    for opened in (store, load_store(tmp_path)):
        assert len(opened) == 3
        for index, row in enumerate(rows):
            assert_same(opened[index], row)
        assert opened.lengths.tolist() == [3, 6, 3]
        assert opened.num_supervised.tolist() == [2, 4, 2]
        assert opened.fingerprint == store.fingerprint


def test_fingerprint_changes_with_any_content() -> None:
    rows = make_rows()
    known = {build_store(rows).fingerprint, build_store(rows[:2]).fingerprint, build_store(rows[::-1]).fingerprint}
    changed = replace(rows[0], weights=np.array([0, 1, 1], dtype=np.float32))
    known.add(build_store([changed, *rows[1:]]).fingerprint)
    moved = replace(rows[0], source=replace(rows[0].source, row=5))
    known.add(build_store([moved, *rows[1:]]).fingerprint)
    assert len(known) == 5


def test_an_empty_store_has_no_rows() -> None:
    store = build_store([])
    assert len(store) == 0 and store.lengths.tolist() == [] and store.num_supervised.tolist() == []
    with pytest.raises(IndexError):
        store[0]
