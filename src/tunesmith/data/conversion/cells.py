# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""How values of any type stand in cells of text, and how they are read back; both ways know the kind of a column.

text: as it is. json: as JSON text, an empty cell where the row lacks the column. absent and null: text, and an empty
cell stands for a lacking column or for null. Which kind loses nothing follows from all values of a column.
"""

import json
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Literal, get_args

from tunesmith.core.errors import refusal
from tunesmith.data.conversion.shapes import Shape

CellKind = Literal["text", "json", "absent", "null"]
CELL_KINDS: tuple[CellKind, ...] = get_args(CellKind)


def cell_kind(shape: Shape, num_rows: int) -> CellKind:
    """Choose the plainest kind from which every value of a column can be read back."""
    is_everywhere = shape.count == num_rows
    if shape.kinds == {"text"} and is_everywhere:
        return "text"
    if shape.kinds == {"text"} and not shape.has_empty_text:
        return "absent"
    if shape.kinds == {"text", "null"} and is_everywhere and not shape.has_empty_text:
        return "null"
    return "json"


def to_cell(values: Mapping[str, Any], name: str, kind: CellKind) -> str:
    """Write one value of a row as a cell."""
    if name not in values or (kind == "null" and values[name] is None):
        return ""
    return to_json_text(values[name]) if kind == "json" else str(values[name])


def from_cells(values: Mapping[str, Any], kinds: Mapping[str, CellKind]) -> dict[str, Any]:
    """Read the cells of a row back; raises json.JSONDecodeError where a cell of kind json holds something else."""
    read: dict[str, Any] = {}
    for name, value in values.items():
        kind = kinds.get(name, "text")
        if kind == "text" or (value is not None and value != ""):
            read[name] = json.loads(value) if kind == "json" else value
        elif kind == "null":
            read[name] = None
    return read


def to_json_text(value: Any) -> str:
    """Write a value as JSON on one line; raises ValueError for numbers that JSON has not, TypeError for bytes."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def to_json_value(value: Any) -> Any:
    """Turn dates and decimals, which JSON has not, into text; raises TypeError for bytes."""
    if isinstance(value, Mapping):
        return {key: to_json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_value(item) for item in value]
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        raise TypeError(f"{len(value)} bytes")
    return value


def parse_kinds(words: Mapping[str, str]) -> dict[str, CellKind]:
    """Check the kinds that a user names."""
    known: dict[str, CellKind] = {kind: kind for kind in CELL_KINDS}
    wrong = {name: kind for name, kind in words.items() if kind not in known}
    if wrong:
        name, kind = next(iter(wrong.items()))
        raise refusal(
            "cli.word_unknown",
            f"--cells {name}={kind}: there is no such kind of cell.",
            f"Choose one of: {', '.join(CELL_KINDS)}.",
        )
    return {name: known[kind] for name, kind in words.items()}
