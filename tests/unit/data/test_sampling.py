# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rows are chosen by number: slices, draws by seed, the first; and handed to the blocks they lie in."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.data.sampling import choose_rows
from tunesmith.data.sets import DataSet


def chosen(num_rows: int, max_samples: int | None = None, **described: Any) -> list[int] | None:
    order = choose_rows(num_rows, DataSet(name="d", files=(), **described), seed=3, max_samples=max_samples).order
    return None if order is None else order.tolist()


@pytest.mark.parametrize(
    ("described", "max_samples", "expected"),
    [
        ({}, None, None),
        ({}, 3, [0, 1, 2]),
        ({}, 99, None),
        ({"split": "train[2:5]"}, None, [2, 3, 4]),
        ({"split": "train[50%:]"}, 2, [5, 6]),
        ({"split": "train[:100%]"}, None, None),
    ],
)
def test_slices_and_limits(described: dict[str, Any], max_samples: int | None, expected: list[int] | None) -> None:
    assert chosen(10, max_samples, **described) == expected


def test_draws_are_by_seed_and_repeat_only_when_they_must() -> None:
    drawn, more = chosen(10, num_samples=4), chosen(4, num_samples=10)
    assert drawn == chosen(10, num_samples=4) and drawn is not None and len(set(drawn)) == 4
    assert more is not None and len(more) == 10 and sorted(more[:4]) == [0, 1, 2, 3]
    assert chosen(0, num_samples=5) == []


@settings(max_examples=60)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.data())
def test_every_row_is_in_its_block_or_left_out(sizes: list[int], data: st.DataObject) -> None:
    total = sum(sizes)
    described: dict[str, Any] = {"num_samples": data.draw(st.one_of(st.none(), st.integers(1, 2 * total)))}
    picked = choose_rows(
        total, DataSet(name="d", files=(), **described), seed=0, max_samples=data.draw(st.integers(1, total))
    )
    start, found = 0, []
    for size, rows in zip(sizes, picked.by_block(sizes), strict=True):
        found += [start + row for row in (range(size) if rows is None else rows)]
        start += size
    assert found == sorted(set(range(total) if picked.order is None else picked.order.tolist()))
    assert sorted([*found, *picked.left_out().tolist()]) == list(range(total))
