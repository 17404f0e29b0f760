# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Each feedback row gets its successor's answer under its own prompt; the counts of the view are those of its rows."""

import numpy as np

from tests.unit.training.batches import make_feedback
from tunesmith.data.mismatched import MismatchedRows
from tunesmith.data.store import build_store


def test_the_next_rows_answer_stands_under_this_rows_prompt() -> None:
    rows = make_feedback([5, 3, 7])
    view = MismatchedRows(build_store(rows))
    for number, row in enumerate(rows):
        found, other = view[number], rows[(number + 1) % 3]
        assert found.segment_names == ("prompt", "answer", "mismatched") and found.segment_parents == (-1, 0, 0)
        answer = other.input_ids[other.segment_lengths[0] :]
        assert np.array_equal(found.input_ids, np.concatenate([row.input_ids, answer]))
        assert found.label == row.label and found.source == row.source == view.source(number)


def test_counts_are_those_of_the_rows() -> None:
    view = MismatchedRows(build_store(make_feedback([5, 3, 7, 9])))
    rows = [view[number] for number in range(len(view))]
    assert view.lengths.tolist() == [row.num_tokens for row in rows]
    assert view.num_supervised.tolist() == [row.num_supervised for row in rows]
    assert len(view.fingerprint) == 64 and view.fingerprint != build_store(make_feedback([5, 3, 7, 9])).fingerprint


def test_a_single_row_has_no_other_answer() -> None:
    view = MismatchedRows(build_store(make_feedback([5])))
    assert view[0].segment_names == ("prompt", "answer") and view.lengths.tolist() == [view[0].num_tokens]
