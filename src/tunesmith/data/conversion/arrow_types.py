# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Arrow types for the columns of JSON rows, where reading them back gives equal rows; None where only text does.

Readers of tables drop null members of nested objects, because tables fill in the members that other rows have.
"""

import json
from collections.abc import Mapping

import pyarrow

from tunesmith.data.conversion.cells import CellKind
from tunesmith.data.conversion.shapes import Shape

# Metadata of a schema: the kinds of its columns that are not read as they stand.
CELLS_KEY = b"tunesmith.cells"

_INTEGER_BOUND = 2**63
_EXACT_IN_FLOAT = 2**53
_PLAIN: Mapping[str, pyarrow.DataType] = {
    "bool": pyarrow.bool_(),
    "number": pyarrow.float64(),
    "text": pyarrow.string(),
}


def column_type(shape: Shape, num_rows: int) -> pyarrow.DataType | None:
    """Give the type of a column; one that is null here and lacking there has none."""
    if shape.count < num_rows and "null" in shape.kinds:
        return None
    return _type_of(shape)


def _type_of(shape: Shape) -> pyarrow.DataType | None:
    kinds = shape.kinds - {"null"}
    if not kinds:
        return pyarrow.null()
    if kinds == {"integer", "number"}:
        is_exact = shape.lowest >= -_EXACT_IN_FLOAT and shape.highest <= _EXACT_IN_FLOAT
        return pyarrow.float64() if is_exact else None
    if len(kinds) > 1:
        return None
    kind = next(iter(kinds))
    if kind == "integer":
        is_held = shape.lowest >= -_INTEGER_BOUND and shape.highest < _INTEGER_BOUND
        return pyarrow.int64() if is_held else None
    if kind == "list":
        item = _type_of(shape.items) if shape.items is not None else pyarrow.null()
        return pyarrow.list_(item) if item is not None else None
    return _struct_of(shape) if kind == "object" else _PLAIN.get(kind)


def _struct_of(shape: Shape) -> pyarrow.DataType | None:
    if shape.is_map or not shape.members or any("null" in member.kinds for member in shape.members.values()):
        return None
    types = {name: _type_of(member) for name, member in shape.members.items()}
    fields = [pyarrow.field(name, kind) for name, kind in types.items() if kind is not None]
    return pyarrow.struct(fields) if len(fields) == len(types) else None


def cells_metadata(cells: Mapping[str, CellKind]) -> dict[bytes, bytes]:
    """Write the kinds of columns into the metadata of a schema, where this command finds them again."""
    return {CELLS_KEY: json.dumps(dict(cells)).encode()} if cells else {}
