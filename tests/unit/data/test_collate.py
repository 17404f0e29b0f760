# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Both layouts list the targets that a token-by-token reference finds, for plain rows and for trees."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.core.types import NO_PARENT, Batch, LayoutKind, RowRef, TokenRow
from tunesmith.data.collate import collate

PAD = 99


def make_row(number: int, lengths: tuple[int, ...], parents: tuple[int, ...], *, trained: bool = True) -> TokenRow:
    total = sum(lengths)
    generator = np.random.default_rng(number)
    weights = generator.choice([0.0, 0.5, 1.0], total) if trained else np.zeros(total)
    return TokenRow(
        source=RowRef(dataset="d", file="f", row=number),
        input_ids=generator.integers(0, 90, total).astype(np.int32),
        weights=weights.astype(np.float32),
        segment_lengths=lengths,
        segment_parents=parents,
        segment_names=tuple(f"s{index}" for index in range(len(lengths))),
    )


def histories(row: TokenRow) -> list[tuple[tuple[int, ...], int, float, int]]:
    """Reference: per trained token that has a history, (all ids before it on its path, id, weight, segment)."""
    starts = np.cumsum([0, *row.segment_lengths])
    found = []
    for segment in range(len(row.segment_lengths)):
        before: list[int] = []
        parent = row.segment_parents[segment]
        while parent != NO_PARENT:
            before = row.input_ids[starts[parent] : starts[parent + 1]].tolist() + before
            parent = row.segment_parents[parent]
        for position in range(starts[segment], starts[segment + 1]):
            token, weight = int(row.input_ids[position]), float(row.weights[position])
            if weight and before:
                found.append((tuple(before), token, weight, segment))
            before = [*before, token]
    return found


def seen_history(batch: Batch, source: int) -> tuple[int, ...]:
    """Ids that the hidden state number `source` has attended to, in the batch's layout."""
    width = batch.input_ids_BT.shape[1]
    if batch.layout is None:
        row, column = divmod(source, width)
        assert batch.attention_mask_BT is not None and bool(batch.attention_mask_BT[row, : column + 1].all())
        return tuple(batch.input_ids_BT[row, : column + 1].tolist())
    layout = batch.layout
    segment = next(i for i in range(len(layout.starts)) if layout.starts[i] <= source < layout.ends[i])
    spans = [(layout.starts[i], layout.ends[i]) for i in layout.ancestors(segment)]
    ids = batch.input_ids_BT[0].tolist()
    return tuple(token for a, b in [*spans, (layout.starts[segment], source + 1)] for token in ids[a:b])


def check(rows: list[TokenRow], layout: LayoutKind) -> None:
    batch = collate(rows, layout=layout, pad_id=PAD)
    expected = [(*item[:3], number, item[3]) for number, row in enumerate(rows) for item in histories(row)]
    found = []
    for index in range(len(batch.source_index_N)):
        segment = int(batch.target_segment_N[index])
        row = int(batch.segment_row_S[segment])
        first = sum(len(other.segment_lengths) for other in rows[:row])
        assert batch.segment_names[segment] == f"s{segment - first}"
        history = seen_history(batch, int(batch.source_index_N[index]))
        weight = float(batch.target_weights_N[index])
        found.append((history, int(batch.target_ids_N[index]), weight, row, segment - first))
    assert sorted(found) == sorted(expected)
    assert batch.num_tokens == sum(row.num_tokens for row in rows)
    assert batch.rows == tuple(row.source for row in rows)


@pytest.mark.parametrize("layout", ["packed", "padded"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_targets_equal_the_reference(layout: LayoutKind, data: st.DataObject) -> None:
    rows = []
    for number in range(data.draw(st.integers(1, 4))):
        num_segments = data.draw(st.integers(1, 5))
        lengths = tuple(data.draw(st.integers(0, 4)) for _ in range(num_segments))
        parents = tuple(data.draw(st.integers(NO_PARENT, index - 1)) for index in range(num_segments))
        rows.append(make_row(number, lengths, parents))
    if sum(row.num_tokens for row in rows):
        check(rows, layout)


@pytest.mark.parametrize("layout", ["packed", "padded"])
def test_a_preference_pair_shares_its_prompt(layout: LayoutKind) -> None:
    check([make_row(1, (5, 3, 4), (NO_PARENT, 0, 0)), make_row(2, (6,), (NO_PARENT,))], layout)


def test_padded_rows_are_padded_on_the_right() -> None:
    batch = collate([make_row(1, (2,), (-1,)), make_row(2, (4,), (-1,))], layout="padded", pad_id=PAD)
    assert batch.attention_mask_BT is not None
    assert batch.attention_mask_BT.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert batch.input_ids_BT[0, 2:].tolist() == [PAD, PAD]
    assert batch.position_ids_BT[1].tolist() == [0, 1, 2, 3]


def test_packed_positions_restart_in_roots_and_continue_in_children() -> None:
    rows = [make_row(1, (3, 2, 2), (-1, 0, 0)), make_row(2, (2,), (-1,))]
    batch = collate(rows, layout="packed", pad_id=PAD)
    assert batch.position_ids_BT.tolist() == [[0, 1, 2, 3, 4, 3, 4, 0, 1]]
    assert batch.attention_mask_BT is None


@pytest.mark.parametrize("layout", ["packed", "padded"])
def test_no_rows_make_a_batch_without_targets(layout: LayoutKind) -> None:
    batch = collate([], layout=layout, pad_id=PAD)
    assert batch.input_ids_BT.tolist() == [[PAD]]
    assert len(batch.target_ids_N) == 0 and batch.num_tokens == 0


def test_labels_belong_to_their_rows() -> None:
    rows = [replace(make_row(number, (2,), (-1,)), label=label) for number, label in enumerate([1.0, None, 0.0])]
    labels = collate(rows, layout="packed", pad_id=PAD).labels
    assert labels is not None and labels[[0, 2]].tolist() == [1.0, 0.0] and labels[1].isnan()
    assert collate([rows[1]], layout="packed", pad_id=PAD).labels is None


def test_types_are_what_models_take() -> None:
    batch = collate([make_row(1, (4,), (-1,))], layout="padded", pad_id=PAD)
    assert batch.input_ids_BT.dtype == batch.source_index_N.dtype == torch.long
    assert batch.target_weights_N.dtype == torch.float32
