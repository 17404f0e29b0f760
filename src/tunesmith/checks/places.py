# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""From rows of a token store back to records of the files they came from."""

from collections.abc import Iterable, Sequence

from tunesmith.core.errors import Where
from tunesmith.core.types import RowRef
from tunesmith.data.store import TokenRows


def rows_by_file(store: TokenRows, indices: Iterable[int]) -> list[Where]:
    """Name rows of a store by data set, file and record, one place a file."""
    return places_of([store.source(int(index)) for index in indices])


def counted(where: Where, noun: str) -> str:
    """Write the number of rows of a place: `1 row`, `3 rows`."""
    return f"{where.num_rows} {noun}{'' if where.num_rows == 1 else 's'}"


def places_of(sources: Sequence[RowRef]) -> list[Where]:
    """Group records by data set and file."""
    files: dict[tuple[str, str], dict[int, None]] = {}
    for source in sources:
        files.setdefault((source.dataset, source.file), {}).setdefault(source.row)
    return [Where.of_rows(sorted(rows), file=file, dataset=dataset) for (dataset, file), rows in files.items()]
