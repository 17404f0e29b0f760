# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Parquet files, read in batches."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from tunesmith.data.sources.base import Fault, Record, readers

_BATCH_ROWS = 1000


@readers.register("parquet")
def read_parquet(path: Path) -> Iterator[Record | Fault]:
    """Read a parquet file."""
    row = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                for values in batch.to_pylist():
                    yield Record(row=row, values={key: _without_filling(value) for key, value in values.items()})
                    row += 1
    except (pyarrow.ArrowInvalid, OSError) as error:
        yield Fault(
            code="data.table_malformed",
            message=f"The file is no readable parquet file: {error}.",
            remedy="Write the file again, or check that it was copied whole.",
        )


def _without_filling(value: Any) -> Any:
    """Drop null members of nested objects: the column type fills in the members that only other rows have."""
    if isinstance(value, dict):
        return {key: _without_filling(item) for key, item in value.items() if item is not None}
    return [_without_filling(item) for item in value] if isinstance(value, list) else value
