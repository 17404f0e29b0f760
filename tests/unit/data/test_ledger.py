# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The ledger counts every row once and refuses when too many are lost, the user's choices aside."""

import json

import pytest

from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import RowRef
from tunesmith.data.ledger import Ledger


def ref(row: int) -> RowRef:
    return RowRef(dataset="d", file="d.json", row=row)


def filled(*, lost: int, by_choice: int = 0, kept: int = 0) -> Ledger:
    ledger = Ledger()
    ledger.enter("train", "d", lost + by_choice + kept)
    rows = iter(range(lost + by_choice + kept))
    for _ in range(kept):
        ledger.record("train", ref(next(rows)), "kept")
    for _ in range(lost):
        ledger.record("train", ref(next(rows)), "dropped", "answer_too_long")
    for _ in range(by_choice):
        ledger.record("train", ref(next(rows)), "dropped", "not_sampled")
    return ledger


def test_counts_and_json_agree() -> None:
    ledger = filled(lost=150, by_choice=20, kept=30)
    content = json.loads(json.dumps(ledger.to_json()))
    assert (content["rows_in"], content["rows_kept"], content["rows_dropped"], content["rows_lost"]) == (
        200,
        30,
        170,
        150,
    )
    lost, left_out = sorted(content["reasons"], key=lambda entry: -entry["count"])
    assert (lost["reason"], lost["count"], len(lost["rows"]), lost["rows"][:2]) == (
        "answer_too_long",
        150,
        100,
        [30, 31],
    )
    assert left_out["by_choice"] is True and ledger.num_left_out == 20
    assert "200 rows read, 30 used, 20 left out, 150 dropped" in ledger.table()


@pytest.mark.parametrize(
    ("lost", "limit", "passes"), [(1, 0.001, True), (2, 0.001, False), (0, 0.0, True), (1, 0.0, False)]
)
def test_a_share_above_the_limit_is_refused(lost: int, limit: float, passes: bool) -> None:
    ledger = filled(lost=lost, kept=1000 - lost, by_choice=500)
    if passes:
        ledger.check(limit)
        return
    with pytest.raises(TunesmithError) as caught:
        ledger.check(limit)
    problem = caught.value.problems[0]
    assert problem.code == "data.rows_lost" and f"{lost} of 1000 rows" in problem.message
    assert problem.where.num_rows == lost and problem.where.rows == tuple(range(1000 - lost, 1000))
    assert "cutoff_len" in problem.remedy


def test_broken_rows_are_named_by_their_code() -> None:
    ledger = Ledger()
    ledger.enter("train", "d", 1)
    ledger.drop_broken("train", ref(4), "data.role_unknown", "Role 'x' is unknown.")
    with pytest.raises(TunesmithError) as caught:
        ledger.check(0.5)
    assert "data.role_unknown" in caught.value.problems[0].message


def test_a_row_without_outcome_is_our_bug() -> None:
    ledger = Ledger()
    ledger.enter("train", "d", 1)
    with pytest.raises(AssertionError, match="exactly one outcome"):
        ledger.check(1.0)
