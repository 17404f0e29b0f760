# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Opening data sets: each is cut into blocks, its format recognised, and its rows chosen; no row is held."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from tunesmith.config.run import RunConfig
from tunesmith.core.errors import MAX_ROWS_SHOWN, Problem, Where
from tunesmith.core.names import nearest
from tunesmith.core.types import RowKind
from tunesmith.data.blocks import Block, cut_blocks, read_block
from tunesmith.data.formats.base import OPTIONAL_KEYS
from tunesmith.data.recognition import SAMPLE_ROWS, Reading, choose_reading
from tunesmith.data.sampling import Chosen, choose_rows
from tunesmith.data.sets import DataSet, find_sets
from tunesmith.data.sources.base import SPAN_ROWS, Fault, Record

# `dataset` or `eval_dataset`.
Part = str


@dataclass(frozen=True, kw_only=True)
class OpenSet:
    """A data set as blocks, how its rows are read, and which are used.

    `reading` is None where it cannot be told. `problems` concern whole files or the description of the set.
    """

    data_set: DataSet
    kind: RowKind
    blocks: tuple[Block, ...]
    reading: Reading | None
    chosen: Chosen
    problems: tuple[Problem, ...] = ()
    note: str | None = None

    @property
    def name(self) -> str:
        """Name of the data set."""
        return self.data_set.name

    def used_blocks(self) -> Iterator[Block]:
        """Give the blocks with the rows that are used marked in them; blocks without any are left out."""
        wanted = self.chosen.by_block([block.num_rows for block in self.blocks])
        for block, rows in zip(self.blocks, wanted, strict=True):
            if rows is None:
                yield block
            elif rows:
                yield replace(block, chosen=rows)

    @property
    def decision(self) -> str | None:
        """Say how the set is read, where that was recognised; alpaca rows that serve as text are announced as texts."""
        reading = self.reading
        if reading is None or reading.decision is None or self.kind != "text" or reading.format != "alpaca":
            return None if reading is None else reading.decision
        return f"read as text: column {reading.columns.names['prompt']!r}"

    def left_out(self) -> list[tuple[str, int, tuple[int, ...]]]:
        """Give the rows that sampling leaves out: by file, how many, and the first hundred of them."""
        rows = self.chosen.left_out()
        found: dict[str, tuple[int, list[int]]] = {}
        start = 0
        for block in self.blocks:
            low, high = np.searchsorted(rows, [start, start + block.num_rows])
            count, shown = found.setdefault(block.file, (0, []))
            shown.extend((rows[low:high][: MAX_ROWS_SHOWN - len(shown)] - start + block.span.start.row).tolist())
            found[block.file] = (count + int(high - low), shown)
            start += block.num_rows
        return [(file, count, tuple(shown)) for file, (count, shown) in found.items() if count]


def open_sets(config: RunConfig, *, kind: RowKind, part: Part, block_rows: int = SPAN_ROWS) -> Iterator[OpenSet]:
    """Open the data sets of `dataset` (part train) or `eval_dataset` (part eval), one after the other."""
    data = config.data
    names, key = (data.dataset, "dataset") if part == "train" else (data.eval_dataset, "eval_dataset")
    for data_set in find_sets(names, data.dataset_dir, key=key, formatting=data.formatting):
        yield open_set(data_set, kind=kind, seed=data_seed(config), max_samples=data.max_samples, block_rows=block_rows)


def data_seed(config: RunConfig) -> int:
    """Give the seed of sampling and splitting: data_seed, or else seed."""
    return config.run.seed if config.run.data_seed is None else config.run.data_seed


def open_set(
    data_set: DataSet, *, kind: RowKind, seed: int, max_samples: int | None = None, block_rows: int = SPAN_ROWS
) -> OpenSet:
    """Cut a data set into blocks, recognise its format, and choose its rows."""
    blocks, problems = _cut(data_set, block_rows)
    sample = list(islice((entry.values for entry in _entries(blocks) if isinstance(entry, Record)), SAMPLE_ROWS))
    reading = choose_reading(data_set, sample, kind=kind)
    if isinstance(reading, Problem) and sample:  # Without a readable row the faults are the reason, not the columns.
        problems.append(reading)
    return OpenSet(
        data_set=data_set,
        kind=kind,
        blocks=tuple(blocks),
        reading=None if isinstance(reading, Problem) else reading,
        chosen=choose_rows(sum(one.num_rows for one in blocks), data_set, seed=seed, max_samples=max_samples),
        problems=tuple(problems),
        note=None if isinstance(reading, Problem) else _note_on_labels(reading, sample, kind),
    )


def _note_on_labels(reading: Reading, sample: Sequence[Mapping[str, Any]], kind: RowKind) -> str | None:
    """Tell that labels of feedback are texts; they are read as what they say, never by truth value."""
    column = reading.columns.names.get("kto_tag") if kind == "feedback" else None
    texts = sorted({repr(row[column]) for row in sample if isinstance(row.get(column), str)}) if column else []
    return f"labels in column {column!r} are texts ({', '.join(texts[:4])}), read as true and false" if texts else None


def _cut(data_set: DataSet, block_rows: int) -> tuple[list[Block], list[Problem]]:
    blocks: list[Block] = []
    problems: list[Problem] = []
    for block in cut_blocks(data_set, max_rows=block_rows):
        problems.extend(_file_problem(data_set, block.file, fault) for fault in block.faults)
        if block.num_rows:
            blocks.append(block)
    if not blocks and not problems:
        problems.append(_empty_problem(data_set))
    return blocks, problems


def _entries(blocks: Sequence[Block]) -> Iterator[Record | Fault]:
    for block in blocks:
        yield from read_block(block)


def absent_columns(data_set: DataSet, present: Iterable[str]) -> list[Problem]:
    """Refuse optional columns that the description names and no row has; formats refuse rows without the others."""
    known = set(present)
    absent = {key: data_set.columns.get(key) for key in OPTIONAL_KEYS}
    return [
        Problem(
            code="data.column_missing",
            message=f"No row of {data_set.name} has the column {name!r}, which its description names as {key}.",
            remedy=f"Correct the name in dataset_info.json, or leave {key} out.{nearest(name, sorted(known))}",
            where=Where(file=data_set.files[0].as_posix(), dataset=data_set.name),
        )
        for key, name in absent.items()
        if name is not None and name not in known
    ]


def _file_problem(data_set: DataSet, file: str, fault: Fault) -> Problem:
    where = Where(file=file, line=fault.line, dataset=data_set.name)
    return Problem(code=fault.code, message=f"{file}: {fault.message}", remedy=fault.remedy, where=where)


def _empty_problem(data_set: DataSet) -> Problem:
    files = ", ".join(file.as_posix() for file in data_set.files)
    return Problem(
        code="data.set_empty",
        message=f"The data set {data_set.name} has no rows: {files}.",
        remedy="Check the file, or leave the data set out.",
        where=Where(file=data_set.files[0].as_posix(), dataset=data_set.name, num_rows=0),
    )
