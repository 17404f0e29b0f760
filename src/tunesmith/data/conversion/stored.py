# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What a conversion has written into a table with types about its columns: which are cells, and of which kind."""

import json
from pathlib import Path

import pyarrow
import pyarrow.ipc
import pyarrow.parquet

from tunesmith.data.conversion.arrow_types import CELLS_KEY
from tunesmith.data.conversion.cells import CellKind, parse_kinds
from tunesmith.data.sources.base import file_type

TABLES = ("parquet", "arrow")


def stored_cells(path: Path) -> dict[str, CellKind]:
    """Read the kinds of columns that an earlier conversion wrote into a table with types."""
    if file_type(path) not in TABLES:
        return {}
    try:
        text = (schema_of(path).metadata or {}).get(CELLS_KEY)
    except (pyarrow.ArrowInvalid, OSError):  # its reader will say what is wrong
        return {}
    return parse_kinds(json.loads(text)) if text is not None else {}


def schema_of(path: Path) -> pyarrow.Schema:
    """Read the schema of a table with types."""
    if file_type(path) == "parquet":
        return pyarrow.parquet.read_schema(path)
    with pyarrow.memory_map(str(path)) as stream:
        try:
            return pyarrow.ipc.open_file(stream).schema
        except pyarrow.ArrowInvalid:
            stream.seek(0)
            return pyarrow.ipc.open_stream(stream).schema
