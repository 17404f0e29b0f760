# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets → examples, without any template: every row read, and everything that is wrong collected.

Used by preparation, and by the preflight for its own look at all rows.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tunesmith.config.run import RunConfig
from tunesmith.core.errors import Problem, Where
from tunesmith.core.names import nearest
from tunesmith.core.types import Example, RowKind, RowRef
from tunesmith.data.formats.base import OPTIONAL_KEYS, Row, RowError, formats
from tunesmith.data.kinds import to_kind
from tunesmith.data.recognition import SAMPLE_ROWS, Reading, choose_reading
from tunesmith.data.set_entry import SPLIT_PATTERN
from tunesmith.data.sets import DataSet, find_sets
from tunesmith.data.sources.base import Fault, Record, file_type, readers

Part = Literal["train", "eval"]


@dataclass(frozen=True, kw_only=True)
class BadRow:
    """One row that cannot be used."""

    source: RowRef
    code: str
    message: str
    remedy: str
    line: int | None = None


@dataclass(frozen=True, kw_only=True)
class ReadSet:
    """All rows of one data set: the examples, the rows that are broken, and those that sampling left out.

    `problems` concern whole files or the description of the set.
    """

    name: str
    examples: tuple[Example, ...] = ()
    bad_rows: tuple[BadRow, ...] = ()
    left_out: tuple[RowRef, ...] = ()
    problems: tuple[Problem, ...] = ()
    decision: str | None = None

    @property
    def num_rows(self) -> int:
        """Rows of the set, used or not."""
        return len(self.examples) + len(self.bad_rows) + len(self.left_out)


def read_examples(config: RunConfig, *, kind: RowKind, part: Part = "train") -> Iterator[Example | Problem]:
    """Give every row of all data sets of a part as an example, then what is wrong with the set, row by row grouped."""
    for read in read_sets(config, kind=kind, part=part):
        yield from read.examples
        yield from read.problems
        yield from group_bad_rows(read.bad_rows)


def read_sets(config: RunConfig, *, kind: RowKind, part: Part = "train") -> Iterator[ReadSet]:
    """Read the data sets of `dataset` or `eval_dataset`, one after the other."""
    data = config.data
    names, key = (data.dataset, "dataset") if part == "train" else (data.eval_dataset, "eval_dataset")
    for data_set in find_sets(names, data.dataset_dir, key=key):
        yield read_set(data_set, kind=kind, seed=data_seed(config), max_samples=data.max_samples)


def data_seed(config: RunConfig) -> int:
    """Give the seed of sampling and splitting: data_seed, or else seed."""
    return config.run.seed if config.run.data_seed is None else config.run.data_seed


def read_set(data_set: DataSet, *, kind: RowKind, seed: int, max_samples: int | None = None) -> ReadSet:
    """Read one data set."""
    entries, problems = _read_files(data_set)
    if not entries and not problems:
        problems = [_empty_problem(data_set)]
    sample = [entry.values for _, entry in entries if isinstance(entry, Record)]
    reading = choose_reading(data_set, sample[:SAMPLE_ROWS])
    if isinstance(reading, Problem):
        # Without a readable row the faults are the reason, not the columns.
        faults = [_bad_row(source, entry) for source, entry in entries if isinstance(entry, Fault)]
        return ReadSet(name=data_set.name, bad_rows=tuple(faults), problems=(*problems, *([reading] if sample else [])))
    problems.extend(_absent_columns(data_set, sample) if sample else [])
    chosen = _choose_rows(len(entries), data_set, seed=seed, max_samples=max_samples)
    outcomes = [_read_row(*entries[index], reading, kind) for index in chosen]
    taken = set(chosen)
    examples = tuple(outcome for outcome in outcomes if isinstance(outcome, Example))
    return ReadSet(
        name=data_set.name,
        examples=examples,
        bad_rows=tuple(outcome for outcome in outcomes if isinstance(outcome, BadRow)),
        left_out=tuple(source for index, (source, _) in enumerate(entries) if index not in taken),
        problems=tuple(problems),
        decision=_decision(reading, kind) if examples else reading.decision,
    )


def _decision(reading: Reading, kind: RowKind) -> str | None:
    """Say how a set is read; alpaca rows that serve as plain text are announced as what they become."""
    if reading.decision is None or kind != "text" or reading.format != "alpaca":
        return reading.decision
    return f"read as text: column {reading.columns.names['prompt']!r}"


def _read_files(data_set: DataSet) -> tuple[list[tuple[RowRef, Record | Fault]], list[Problem]]:
    """Read all files of a set: its rows in order, and the faults of whole files."""
    entries: list[tuple[RowRef, Record | Fault]] = []
    problems: list[Problem] = []
    for file in data_set.files:
        for entry in _read_file(file):
            if entry.row is None:
                problems.append(_file_problem(data_set, file.as_posix(), entry))
            else:
                entries.append((RowRef(dataset=data_set.name, file=file.as_posix(), row=entry.row), entry))
    return entries, problems


def _read_file(file: Path) -> Iterator[Record | Fault]:
    try:
        yield from readers.get(file_type(file))(file)
    except OSError as error:
        remedy = "Check the permissions of the file and the disk it lies on."
        yield Fault(code="data.file_unreadable", message=f"The file cannot be read: {error}.", remedy=remedy)


def _bad_row(source: RowRef, fault: Fault) -> BadRow:
    return BadRow(source=source, code=fault.code, message=fault.message, remedy=fault.remedy, line=fault.line)


def _read_row(source: RowRef, entry: Record | Fault, reading: Reading, kind: RowKind) -> Example | BadRow:
    if isinstance(entry, Fault):
        return _bad_row(source, entry)
    row = Row(source=source, values=entry.values)
    try:
        return to_kind(formats.get(reading.format)(row, reading.columns), kind, row, reading)
    except RowError as error:
        return BadRow(source=source, code=error.code, message=error.message, remedy=error.remedy)


def _choose_rows(num_rows: int, data_set: DataSet, *, seed: int, max_samples: int | None) -> list[int]:
    """Apply split, num_samples (by seed, with repetition where it exceeds the set) and max_samples (the first)."""
    rows = np.arange(num_rows)[_slice_of(data_set.split, num_rows)]
    if data_set.num_samples is not None and len(rows):
        generator = np.random.default_rng([seed, *data_set.name.encode()])
        drawn = generator.permutation(rows)[: data_set.num_samples]
        more = data_set.num_samples - len(drawn)
        rows = np.concatenate([drawn, generator.choice(rows, more)]) if more > 0 else drawn
    chosen: list[int] = rows[:max_samples].tolist()
    return chosen


def _slice_of(split: str, num_rows: int) -> slice:
    match = SPLIT_PATTERN.fullmatch(split)
    assert match is not None, f"split {split!r} was checked with the entry"
    return slice(*(_border(match[name], num_rows) for name in ("start", "end")))


def _border(text: str | None, num_rows: int) -> int | None:
    if not text:
        return None
    return num_rows * int(text[:-1]) // 100 if text.endswith("%") else int(text)


def _absent_columns(data_set: DataSet, sample: Sequence[Mapping[str, Any]]) -> list[Problem]:
    """Refuse optional columns that the description names and no row has; formats refuse rows without the others."""
    present = {name for values in sample for name in values}
    absent = {key: data_set.columns.get(key) for key in OPTIONAL_KEYS}
    return [
        Problem(
            code="data.column_missing",
            message=f"No row of {data_set.name} has the column {name!r}, which its description names as {key}.",
            remedy=f"Correct the name in dataset_info.json, or leave {key} out.{nearest(name, sorted(present))}",
            where=Where(file=data_set.files[0].as_posix(), dataset=data_set.name),
        )
        for key, name in absent.items()
        if name is not None and name not in present
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


def group_bad_rows(bad_rows: Iterable[BadRow]) -> list[Problem]:
    """Make one problem of all rows of a file that have the same error; the first of them is told in words."""
    groups: dict[tuple[str, str, str], list[BadRow]] = {}
    for bad in bad_rows:
        groups.setdefault((bad.source.dataset, bad.source.file, bad.code), []).append(bad)
    return [_group_problem(group) for group in groups.values()]


def _group_problem(group: Sequence[BadRow]) -> Problem:
    first = group[0]
    rows = [bad.source.row for bad in group]
    others = f" {len(group) - 1} more rows have the same fault." if len(group) > 1 else ""
    return Problem(
        code=first.code,
        message=f"{first.source.file}, row {first.source.row}: {first.message}{others}",
        remedy=first.remedy,
        where=replace(Where.of_rows(rows, file=first.source.file, dataset=first.source.dataset), line=first.line),
    )
