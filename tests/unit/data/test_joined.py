# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Joined texts hold every token of their texts once, in order, in full rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.training.batches import make_rows
from tunesmith.data.joined import JoinedTexts
from tunesmith.data.store import RowsView, TokenRows, TokenStore, build_store


def texts_of(lengths: list[int]) -> TokenStore:
    return build_store(make_rows(lengths, is_text=True))


def test_texts_follow_one_another() -> None:
    texts = texts_of([4, 2, 6])
    rows = JoinedTexts(texts, 5)
    ids = np.concatenate([texts[0].input_ids, texts[1].input_ids, texts[2].input_ids]).tolist()
    assert [row.input_ids.tolist() for row in map(rows.__getitem__, range(len(rows)))] == [ids[:5], ids[5:10], ids[10:]]
    assert rows.lengths.tolist() == [5, 5, 2] and rows.num_supervised.tolist() == [4, 4, 1]
    assert [row.source.row for row in map(rows.__getitem__, range(3))] == [0, 1, 2]
    assert [rows.source(index).row for index in range(3)] == [0, 1, 2]
    assert rows[0].weights.tolist() == [0, 1, 1, 1, 1]  # the first token of a text is a target where one precedes it
    with pytest.raises(IndexError):
        rows[3]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 12), max_size=12), st.integers(2, 9), st.integers(0, 5))
def test_no_token_is_lost(lengths: list[int], length: int, seed: int) -> None:
    store = texts_of(lengths)
    texts = RowsView(store, np.random.default_rng(seed).permutation(len(store)))
    rows = JoinedTexts(texts, length)
    found = [token for index in range(len(rows)) for token in rows[index].input_ids.tolist()]
    assert found == [token for index in range(len(texts)) for token in texts[index].input_ids.tolist()]
    assert all(count == length for count in rows.lengths[:-1])
    for index in range(len(rows)):
        row = rows[index]
        assert (row.num_tokens, row.num_supervised) == (rows.lengths[index], rows.num_supervised[index])
        assert row.source == rows.source(index)


def test_the_fingerprint_follows_texts_and_length() -> None:
    texts = texts_of([4, 2, 6])
    views: list[TokenRows] = [texts, RowsView(texts, np.array([0, 2, 1]))]
    prints = {JoinedTexts(view, length).fingerprint for view in views for length in (4, 5)}
    assert len(prints) == 4 and JoinedTexts(texts_of([4, 2, 6]), 4).fingerprint in prints


def test_traits_are_those_of_the_first_text() -> None:
    texts = texts_of([4, 2, 6])
    marked = TokenStore(arrays=texts.arrays, names=texts.names, files=texts.files, traits={"t": np.array([7, 8, 9])})
    assert JoinedTexts(marked, 5).traits["t"].tolist() == [7, 8, 9]
    assert JoinedTexts(marked, 3).traits["t"].tolist() == [7, 7, 9, 9]
