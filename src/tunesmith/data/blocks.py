# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets cut into blocks of records: pieces of files that any process can read by themselves.

A block is a place, not its content; it costs a few numbers however long its records are.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from tunesmith.data.sets import DataSet
from tunesmith.data.sources.base import SPAN_ROWS, Fault, Position, Reader, Record, Span, file_type, readers

__all__ = ["Block", "Place", "Position", "cut_blocks", "read_block"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A place between two blocks of a data set: the number of the file and the position in it."""

    file: int = 0
    position: Position = field(default_factory=Position)


@dataclass(frozen=True, kw_only=True)
class Block:
    """Consecutive records of one file, or faults of the file itself and no records.

    `chosen` are the rows of the block that are wanted, counted from its first one, in order; None means all.
    """

    dataset: str
    file: str
    file_number: int
    span: Span
    faults: tuple[Fault, ...] = ()
    chosen: tuple[int, ...] | None = None

    @property
    def num_rows(self) -> int:
        """Count the records, broken ones and ones that are not wanted included."""
        return self.span.num_rows

    @property
    def num_chosen(self) -> int:
        """Count the records that are wanted."""
        return self.num_rows if self.chosen is None else len(self.chosen)

    @property
    def end(self) -> Place:
        """The place behind the block, from which cutting can go on."""
        return Place(file=self.file_number, position=self.span.end)


def cut_blocks(data_set: DataSet, *, max_rows: int = SPAN_ROWS, start: Place | None = None) -> Iterator[Block]:
    """Cut the files of a data set, from a place on; a place in the middle costs no reading of what is before it."""
    begin = start or Place()
    for number, path in enumerate(data_set.files):
        if number < begin.file:
            continue
        position = begin.position if number == begin.file else Position()
        block = Block(dataset=data_set.name, file=path.as_posix(), file_number=number, span=_nothing(position))
        for span in _cut_file(path, position, max_rows):
            if isinstance(span, Fault):
                yield replace(block, faults=(span,))
            else:
                yield replace(block, span=span)


def read_block(block: Block) -> Iterator[Record | Fault]:
    """Give the wanted records of a block in order, or the fault of each that cannot be read."""
    if not block.num_chosen:
        return
    path = Path(block.file)
    entries = _reader(path).read(path, block.span)
    if block.chosen is None:
        yield from entries
        return
    wanted = {block.span.start.row + row for row in block.chosen}
    for entry in entries:
        if entry.row in wanted:
            yield entry


def _cut_file(path: Path, start: Position, max_rows: int) -> Iterator[Span | Fault]:
    try:
        yield from _reader(path).cut(path, start, max_rows=max_rows)
    except OSError as error:
        yield Fault(
            code="data.file_unreadable",
            message=f"The file cannot be read: {error}.",
            remedy="Check the permissions of the file and the disk it lies on.",
        )


def _reader(path: Path) -> Reader:
    return readers.get(file_type(path))


def _nothing(position: Position) -> Span:
    return Span(start=position, end=position, digest="")
