# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Answers are runs of trained tokens, one row at a time."""

import numpy as np

from tests.unit.checks.stores import store_of
from tunesmith.checks.answers import iterate_answers, last_trained_tokens
from tunesmith.data.store import RowsView, TokenRows


def found(rows: TokenRows) -> list[tuple[int, tuple[int, ...]]]:
    return [
        (int(answers.rows[number]), answers.token_ids(number))
        for answers in iterate_answers(rows)
        for number in range(len(answers))
    ]


def test_every_run_is_an_answer() -> None:
    assert found(store_of(["1 [2 3] 4 [5]", "6 [7] 8"])) == [(0, (2, 3)), (0, (5,)), (1, (7,))]


def test_a_run_ends_with_its_row() -> None:
    assert found(store_of(["1 [2]", "[3] 4", "[5 6]", "[7]"])) == [(0, (2,)), (1, (3,)), (2, (5, 6)), (3, (7,))]


def test_rows_of_a_view_keep_its_numbers() -> None:
    view = RowsView(store_of(["1 [2]", "[3] 4", "[5 6]"]), np.array([2, 0, 2]))
    assert sorted(found(view)) == [(0, (5, 6)), (1, (2,)), (2, (5, 6))]
    assert last_trained_tokens(view).tolist() == [6, 2, 6]


def test_a_row_without_answers_has_no_last_token() -> None:
    assert last_trained_tokens(store_of(["1 2", "3 [4] 5 [6 7] 8"])).tolist() == [-1, 7]


def test_an_empty_store_has_no_answers() -> None:
    assert found(store_of([])) == [] and len(last_trained_tokens(store_of([]))) == 0
