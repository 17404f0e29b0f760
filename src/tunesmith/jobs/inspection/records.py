# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The raw records behind rows: the format each data set is read in, and the beginnings of records by number."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice

from tunesmith.config.run import RunConfig
from tunesmith.core.errors import Problem, TunesmithError
from tunesmith.core.types import RowKind
from tunesmith.data.blocks import Block, cut_blocks, read_block
from tunesmith.data.recognition import SAMPLE_ROWS, Reading, choose_reading
from tunesmith.data.sets import DataSet, find_sets
from tunesmith.data.sources.base import Record

_MAX_CHARACTERS = 240


def sets_of(config: RunConfig) -> list[DataSet]:
    """Find the data sets of training and evaluation."""
    data = config.data
    train = find_sets(data.dataset, data.dataset_dir, key="dataset", formatting=data.formatting)
    evals = find_sets(data.eval_dataset, data.dataset_dir, key="eval_dataset", formatting=data.formatting)
    return [*train, *evals]


def readings_of(config: RunConfig, kind: RowKind) -> dict[str, Reading | None]:
    """Say how each data set is read; None where that cannot be told."""
    try:
        return {one.name: _reading(one, kind) for one in sets_of(config)}
    except TunesmithError:  # Sets that cannot be found are named by preparation.
        return {}


def _reading(data_set: DataSet, kind: RowKind) -> Reading | None:
    entries = (entry for block in cut_blocks(data_set) for entry in read_block(block))
    sample = list(islice((entry.values for entry in entries if isinstance(entry, Record)), SAMPLE_ROWS))
    found = choose_reading(data_set, sample, kind=kind)
    return None if isinstance(found, Problem) else found


def count_records(config: RunConfig) -> int | None:
    """Count the records of all data sets, broken ones included; None where a set cannot be found."""
    try:
        return sum(block.num_rows for one in sets_of(config) for block in cut_blocks(one))
    except TunesmithError:
        return None


def blocks_of_rows(data_set: DataSet, file: str, rows: Iterable[int]) -> Iterator[Block]:
    """Give the blocks of a file that hold some records, with those marked; nothing behind the last one is read."""
    wanted = sorted(set(rows))
    for block in cut_blocks(data_set):
        if not wanted:
            return
        if block.file != file:
            continue
        start = block.span.start.row
        inside = [row - start for row in wanted if row < start + block.num_rows]
        wanted = wanted[len(inside) :]
        if inside:
            yield replace(block, chosen=tuple(inside))


def record_texts(config: RunConfig, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """Give the beginnings of records, named by file and number; those that cannot be read have none."""
    rows: dict[str, set[int]] = {}
    for file, row in places:
        rows.setdefault(file, set()).add(row)
    return {
        (file, entry.row): _text_of(entry)
        for data_set in sets_of(config)
        for file, wanted in rows.items()
        if file in [path.as_posix() for path in data_set.files]
        for block in blocks_of_rows(data_set, file, wanted)
        for entry in read_block(block)
        if isinstance(entry, Record)
    }


def _text_of(record: Record) -> str:
    text = json.dumps(dict(record.values), ensure_ascii=False, default=str)
    return text if len(text) <= _MAX_CHARACTERS else f"{text[: _MAX_CHARACTERS - 1]}…"
