# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Where token rows came from, as arrays: file and record of each, without an object a row."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tunesmith.data.preparation.sharded import ShardedStore
from tunesmith.data.store import RowsView, TokenRows

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class SourceNumbers:
    """Row i is record `records[i]` of the file `names[files[i]]`; names are (data set, file)."""

    files: Numbers
    records: Numbers
    names: tuple[tuple[str, str], ...]

    @property
    def sets(self) -> Numbers:
        """Number of the data set of each row."""
        numbers: dict[str, int] = {}
        of_file = [numbers.setdefault(dataset, len(numbers)) for dataset, _ in self.names]
        return np.array(of_file, dtype=np.int64)[self.files]


def source_numbers(rows: TokenRows) -> SourceNumbers:
    """Gather the sources of all rows."""
    if isinstance(rows, RowsView):
        below = source_numbers(rows.rows)
        index = np.asarray(rows.index, dtype=np.int64)
        return SourceNumbers(files=below.files[index], records=below.records[index], names=below.names)
    names: dict[tuple[str, str], int] = {}
    if isinstance(rows, ShardedStore):
        of_shard = [names.setdefault((one.dataset, one.file), len(names)) for one in rows.shards]
        files = np.repeat(np.array(of_shard, dtype=np.int64), np.diff(rows.starts))
        return SourceNumbers(files=files, records=rows.source_rows.astype(np.int64), names=tuple(names))
    sources = [rows.source(row) for row in range(len(rows))]
    numbers = [names.setdefault((source.dataset, source.file), len(names)) for source in sources]
    records = np.array([source.row for source in sources], dtype=np.int64)
    return SourceNumbers(files=np.array(numbers, dtype=np.int64), records=records, names=tuple(names))
