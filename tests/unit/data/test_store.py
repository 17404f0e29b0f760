# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A token store gives back exactly the rows it was built from, in memory and from disk."""

from dataclasses import replace

import numpy as np
import pytest

from tunesmith.core.types import RowRef, TokenRow
from tunesmith.data.store import RowsView, build_store, pieces_of


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
    assert found.source == expected.source and found.label == expected.label and found.channel == expected.channel
    assert found.segment_lengths == expected.segment_lengths
    assert found.segment_parents == expected.segment_parents
    assert found.segment_names == expected.segment_names


def test_rows_come_back() -> None:
    rows = make_rows()
    store = build_store(rows)
    assert len(store) == 3
    for index, row in enumerate(rows):
        assert_same(store[index], row)
        assert store.source(index) == row.source
    assert store.lengths.tolist() == [3, 6, 3]
    assert store.num_supervised.tolist() == [2, 4, 2]


def test_a_view_gives_some_rows_in_its_own_order() -> None:
    rows = make_rows()
    store = replace(build_store(rows), traits={"prompt": np.array([7, 8, 9], dtype=np.uint64)})
    view = RowsView(store, np.array([2, 0, 2]))
    assert len(view) == 3 and view.lengths.tolist() == [3, 3, 3] and view.num_supervised.tolist() == [2, 2, 2]
    for place, number in enumerate((2, 0, 2)):
        assert_same(view[place], rows[number])
        assert view.source(place) == rows[number].source
    assert view.traits["prompt"].tolist() == [9, 7, 9] and list(view.traits) == ["prompt"]
    with pytest.raises(IndexError):
        view[3]
    prints = {RowsView(store, np.array(index)).fingerprint for index in ([2, 0, 2], [2, 2, 0], [0, 1])}
    assert len(prints) == 3


def test_a_view_of_a_view_is_a_view() -> None:
    rows = make_rows()
    inner = RowsView(build_store(rows), np.array([1, 2]))
    assert_same(RowsView(inner, np.array([1, 1, 0]))[2], rows[1])


@pytest.mark.parametrize("index", [[0, 1, 2], [2, 0], [1, 1, 2, 0, 1], []])
def test_pieces_hold_all_tokens_flat(index: list[int]) -> None:
    rows = make_rows()
    view = RowsView(RowsView(build_store(rows), np.array([0, 1, 2])), np.array(index, dtype=np.int64))
    found = {}
    for piece in pieces_of(view):
        for place, number in enumerate(piece.rows.tolist()):
            tokens = slice(piece.offsets[place], piece.offsets[place + 1])
            found[number] = (piece.input_ids[tokens].tolist(), piece.weights[tokens].tolist())
    assert found == {
        place: (rows[number].input_ids.tolist(), rows[number].weights.tolist()) for place, number in enumerate(index)
    }


def test_fingerprint_changes_with_any_content() -> None:
    rows = make_rows()
    known = {build_store(rows).fingerprint, build_store(rows[:2]).fingerprint, build_store(rows[::-1]).fingerprint}
    changed = replace(rows[0], weights=np.array([0, 1, 1], dtype=np.float32))
    known.add(build_store([changed, *rows[1:]]).fingerprint)
    moved = replace(rows[0], source=replace(rows[0].source, row=5))
    known.add(build_store([moved, *rows[1:]]).fingerprint)
    assert len(known) == 5


def test_channels_come_back_and_count_only_where_there_are_any() -> None:
    rows = make_rows()
    named = [replace(row, channel=channel) for row, channel in zip(rows, ("maths", None, "text"), strict=True)]
    store = build_store(named)
    for index, row in enumerate(named):
        assert_same(store[index], row)
    without = build_store(rows)
    assert without.fingerprint != store.fingerprint and set(without.arrays["channels"].tolist()) == {-1}


def test_an_empty_store_has_no_rows() -> None:
    store = build_store([])
    assert len(store) == 0 and store.lengths.tolist() == [] and store.num_supervised.tolist() == []
    with pytest.raises(IndexError):
        store[0]
