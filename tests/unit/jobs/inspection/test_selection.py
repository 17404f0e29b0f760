# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Which rows are shown: the usual choice without repeats, rows by number, and rows of a finding."""

from tests.unit.checks.stores import store_of
from tunesmith.core.errors import Problem, Where
from tunesmith.data.ledger import Ledger
from tunesmith.data.pipeline import PreparedData
from tunesmith.jobs.inspection.selection import ShowRequest, pick_rows

STORE = store_of(["1 [2]" + " 3" * (number % 5) for number in range(12)])
DATA = PreparedData(train=STORE, evals={}, ledger=Ledger())


def picked(request: ShowRequest, *problems: Problem) -> list[tuple[int, str]]:
    return [(pick.index, pick.why) for pick in pick_rows(DATA, request, problems, seed=1)]


def test_the_first_the_longest_and_others_at_random() -> None:
    found = picked(ShowRequest(first=2, longest=1, sample=3))
    assert found[:3] == [(0, "first"), (1, "first"), (4, "longest")]
    assert [why for _, why in found[3:]] == ["at random"] * 3
    assert len({index for index, _ in found}) == 6
    assert found == picked(ShowRequest(first=2, longest=1, sample=3))


def test_a_row_with_two_reasons_is_shown_once() -> None:
    assert picked(ShowRequest(first=5, longest=1, sample=0))[4] == (4, "first, longest")


def test_rows_by_number_replace_the_usual_choice_in_their_order() -> None:
    assert picked(ShowRequest(rows=(7, 2, 99))) == [(7, "asked for"), (2, "asked for")]


def test_rows_of_a_finding_are_added() -> None:
    where = Where.of_rows([9, 10], file="rows.jsonl")
    problem = Problem(code="check.rows_duplicate", message="m", remedy="r", where=where)
    other = Problem(code="check.other_found", message="m", remedy="r", where=Where.of_rows([3], file="rows.jsonl"))
    request = ShowRequest(rows=(0,), finding="check.rows_duplicate")
    assert picked(request, problem, other) == [
        (0, "asked for"), (9, "check.rows_duplicate"), (10, "check.rows_duplicate")
    ]  # fmt: skip


def test_all_rows_may_be_asked_for() -> None:
    assert sorted(index for index, _ in picked(ShowRequest(sample=100))) == list(range(12))
