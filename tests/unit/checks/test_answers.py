# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Answers are runs of trained tokens, one row at a time."""

from tests.unit.checks.stores import store_of
from tunesmith.checks.answers import find_answers


def spans(rows: list[str]) -> list[tuple[int, int, int]]:
    found = find_answers(store_of(rows))
    return list(zip(found.rows.tolist(), found.starts.tolist(), found.ends.tolist(), strict=True))


def test_every_run_is_an_answer() -> None:
    assert spans(["1 [2 3] 4 [5]", "6 [7] 8"]) == [(0, 1, 3), (0, 4, 5), (1, 6, 7)]


def test_a_run_ends_with_its_row() -> None:
    assert spans(["1 [2]", "[3] 4", "[5 6]", "[7]"]) == [(0, 1, 2), (1, 2, 3), (2, 4, 6), (3, 6, 7)]


def test_a_row_without_answers_has_no_last_token() -> None:
    assert find_answers(store_of(["1 2", "3 [4] 5 [6 7] 8"])).last_tokens.tolist() == [-1, 7]


def test_an_empty_store_has_no_answers() -> None:
    assert len(find_answers(store_of([]))) == 0
