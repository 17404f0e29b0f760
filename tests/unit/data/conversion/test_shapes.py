# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Columns get the plainest kind of cell, and the arrow type, that lose nothing."""

from typing import Any

import pyarrow
import pytest

from tunesmith.data.conversion.arrow_types import column_type
from tunesmith.data.conversion.cells import cell_kind, from_cells, to_cell
from tunesmith.data.conversion.shapes import MAX_MEMBERS, Shape

LACKING = object()


def shape_of(values: list[Any]) -> Shape:
    shape = Shape()
    for value in values:
        if value is not LACKING:
            shape.add(value)
    return shape


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a", "", "5"], "text"),
        (["a", LACKING], "absent"),
        (["", LACKING], "json"),
        (["a", None], "null"),
        (["a", None, LACKING], "json"),
        (["a", 5, True, 0.5, [1], {"b": None}], "json"),
    ],
)
def test_cells_give_every_value_back(values: list[Any], kind: str) -> None:
    assert cell_kind(shape_of(values), len(values)) == kind
    for value in values:
        row = {} if value is LACKING else {"column": value}
        chosen = cell_kind(shape_of(values), len(values))
        assert from_cells({"column": to_cell(row, "column", chosen)}, {"column": chosen}) == row


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2], pyarrow.int64()),
        ([1, 2.5], pyarrow.float64()),
        ([2**60, 2.5], None),
        ([2**63], None),
        ([1, True], None),
        (["a", None], pyarrow.string()),
        (["a", None, LACKING], None),
        (["a", LACKING], pyarrow.string()),
        ([["a"], []], pyarrow.list_(pyarrow.string())),
        ([{"a": 1}, {"b": "x"}], pyarrow.struct([("a", pyarrow.int64()), ("b", pyarrow.string())])),
        ([{"a": None}], None),
        ([{}], None),
        ([{str(n): n for n in range(MAX_MEMBERS + 1)}], None),
        ([[{"a": [{"b": None}]}]], None),
    ],
)
def test_arrow_types_hold_every_value(values: list[Any], expected: pyarrow.DataType | None) -> None:
    assert column_type(shape_of(values), len(values)) == expected
