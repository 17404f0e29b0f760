# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Blocks of records → examples, without any template: every row becomes an example or says what is wrong with it.

Preparation reads block by block; whoever needs the rows themselves reads sets row by row, or whole.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from tunesmith.config.run import RunConfig
from tunesmith.core.errors import Problem, Where
from tunesmith.core.types import Example, RowKind, RowRef
from tunesmith.data.blocks import Block, read_block
from tunesmith.data.formats.base import Row, RowError, formats
from tunesmith.data.kinds import to_kind
from tunesmith.data.opening import OpenSet, absent_columns, data_seed, open_set, open_sets
from tunesmith.data.recognition import Reading
from tunesmith.data.sets import DataSet
from tunesmith.data.sources.base import Fault, Record, same_fault

__all__ = ["BadRow", "BlockRows", "Part", "ReadSet", "data_seed", "group_bad_rows", "read_examples", "read_rows"]

Part = Literal["train", "eval"]


@dataclass(frozen=True, kw_only=True)
class BadRow:
    """One row that cannot be used."""

    source: RowRef
    code: str
    message: str
    remedy: str
    line: int | None = None


@dataclass(kw_only=True)
class BlockRows:
    """The wanted rows of a block: the examples, the rows that are broken, and all columns that any record has."""

    examples: list[Example] = field(default_factory=list)
    bad_rows: list[BadRow] = field(default_factory=list)
    columns: dict[str, None] = field(default_factory=dict)


def read_rows(block: Block, reading: Reading | None, kind: RowKind) -> BlockRows:
    """Read a block; without a reading only its columns and the rows that are no records."""
    rows = BlockRows()
    for entry in read_block(block):
        source = RowRef(dataset=block.dataset, file=block.file, row=entry.row or 0)
        if isinstance(entry, Fault):
            rows.bad_rows.append(_bad_row(source, entry))
            continue
        rows.columns.update(dict.fromkeys(entry.values))
        found = None if reading is None else _read_record(source, entry, reading, kind)
        if isinstance(found, BadRow):
            rows.bad_rows.append(found)
        elif found is not None:
            rows.examples.append(found)
    return rows


def _bad_row(source: RowRef, fault: Fault) -> BadRow:
    return BadRow(source=source, code=fault.code, message=fault.message, remedy=fault.remedy, line=fault.line)


def _read_record(source: RowRef, record: Record, reading: Reading, kind: RowKind) -> Example | BadRow:
    row = Row(source=source, values=record.values)
    try:
        return to_kind(formats.get(reading.format)(row, reading.columns), kind, row, reading)
    except RowError as error:
        return BadRow(source=source, code=error.code, message=error.message, remedy=error.remedy)


@dataclass(frozen=True, kw_only=True)
class ReadSet:
    """All rows of one data set that are used, for sets that fit into memory."""

    name: str
    examples: tuple[Example, ...] = ()
    bad_rows: tuple[BadRow, ...] = ()
    problems: tuple[Problem, ...] = ()
    decision: str | None = None


def read_examples(config: RunConfig, *, kind: RowKind, part: Part = "train") -> Iterator[Example | Problem]:
    """Give every row of all data sets of a part as an example, then what is wrong with the set, row by row grouped."""
    for opened in open_sets(config, kind=kind, part=part):
        rest = BlockRows()
        yield from _examples_of(opened, rest)
        yield from _problems_of(opened, rest)
        yield from group_bad_rows(rest.bad_rows)


def read_sets(config: RunConfig, *, kind: RowKind, part: Part = "train") -> Iterator[ReadSet]:
    """Read the data sets of `dataset` or `eval_dataset` whole, one after the other."""
    for opened in open_sets(config, kind=kind, part=part):
        yield _read_whole(opened)


def read_set(data_set: DataSet, *, kind: RowKind, seed: int, max_samples: int | None = None) -> ReadSet:
    """Read one data set whole."""
    return _read_whole(open_set(data_set, kind=kind, seed=seed, max_samples=max_samples))


def _read_whole(opened: OpenSet) -> ReadSet:
    rest = BlockRows()
    examples = tuple(_examples_of(opened, rest))
    problems = tuple(_problems_of(opened, rest))
    return ReadSet(
        name=opened.name,
        examples=examples,
        bad_rows=tuple(rest.bad_rows),
        problems=problems,
        decision=opened.decision,
    )


def _examples_of(opened: OpenSet, rest: BlockRows) -> Iterator[Example]:
    """Give the examples of a set, and leave what else its blocks hold in `rest`."""
    for block in opened.used_blocks():
        rows = read_rows(block, opened.reading, opened.kind)
        rest.bad_rows.extend(rows.bad_rows)
        rest.columns.update(rows.columns)
        yield from rows.examples


def _problems_of(opened: OpenSet, rest: BlockRows) -> list[Problem]:
    is_read = opened.reading is not None and rest.columns
    return [*opened.problems, *(absent_columns(opened.data_set, rest.columns) if is_read else [])]


def group_bad_rows(bad_rows: Iterable[BadRow]) -> list[Problem]:
    """Make one problem of all rows of a file that have the same error; the first of them is told in words."""
    groups: dict[tuple[str, str, str], list[BadRow]] = {}
    for bad in bad_rows:
        groups.setdefault((bad.source.dataset, bad.source.file, bad.code), []).append(bad)
    return [bad_rows_problem(group[0], [bad.source.row for bad in group], len(group)) for group in groups.values()]


def bad_rows_problem(first: BadRow, rows: Sequence[int], count: int) -> Problem:
    """Tell of `count` rows with the fault of the first; some of their numbers are at hand."""
    others = same_fault(count - 1)
    where = Where.of_rows(rows, file=first.source.file, dataset=first.source.dataset)
    return Problem(
        code=first.code,
        message=f"{first.source.file}, row {first.source.row}: {first.message}{others}",
        remedy=first.remedy,
        where=replace(where, line=first.line, num_rows=count),
    )
