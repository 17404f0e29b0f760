# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Token rows of a stream in parts: a window is encoded a part at a time, when it is needed.

A part follows from its place alone: the start of its window and its number in it. It knows no batches.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from tunesmith.core.types import Example, RowKind, RowRef, TokenRow
from tunesmith.data.encoders.base import EncodeRules, Notes, encoders
from tunesmith.data.examples import BadRow
from tunesmith.data.formats.base import Row, RowError, formats
from tunesmith.data.groups import LONG_ANSWER_CHARS, Index
from tunesmith.data.kinds import to_kind
from tunesmith.data.ledger import HELD_OUT
from tunesmith.data.recognition import Reading
from tunesmith.data.sets import DataSet
from tunesmith.data.sources.base import Fault
from tunesmith.data.store import TokenStore, Traits, build_store
from tunesmith.data.stream_windows import Entry, Window, WindowRules, WindowStart, read_windows
from tunesmith.data.traits import compute_traits

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Prompts and long answers of the evaluation rows, as hashes: training leaves out rows that have one of them."""

    prompts: Hashes = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))
    answers: Hashes = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))

    def marks(self, traits: Traits) -> npt.NDArray[np.bool_]:
        """Say which rows have one of them."""
        has_answer = (traits["answer_chars"] >= LONG_ANSWER_CHARS) & np.isin(traits["answer"], self.answers)
        marks: npt.NDArray[np.bool_] = np.isin(traits["prompt"], self.prompts) | has_answer
        return marks


@dataclass(frozen=True, kw_only=True)
class StreamRecipe:
    """Everything the rows of a stream follow from; plain data that travels between processes.

    `readings` says how each set is read; a window is encoded in parts of `part_rows` records. `plugins` are modules
    that another process imports first; `keeps_traits` gives the rows their traits.
    """

    sets: tuple[DataSet, ...]
    readings: tuple[Reading, ...]
    kind: RowKind
    rules: EncodeRules
    windows: WindowRules
    part_rows: int
    held_out: HeldOut = field(default_factory=HeldOut)
    plugins: tuple[str, ...] = ()
    keeps_traits: bool = False


@dataclass(frozen=True, kw_only=True)
class StreamPart:
    """The token rows of a part of a window, and what became of its records.

    `entry_of_row` numbers the record that each row came from, counted through the window; `entered` counts the records
    by data set.
    """

    start: WindowStart
    number: int
    is_last: bool
    rows: TokenStore
    entry_of_row: Index
    entered: Mapping[str, int]
    notes: Notes


class PartReader:
    """Encodes the records of a stream's windows, from any place on."""

    def __init__(self, recipe: StreamRecipe) -> None:
        self._recipe = recipe
        self._encoder = encoders.get(recipe.kind)(recipe.rules)
        self._window: Window | None = None

    def parts(self, start: WindowStart, number: int = 0) -> Iterator[StreamPart]:
        """Give the parts from part `number` of a window on, without end; there may be no such part in the window."""
        size = self._recipe.part_rows
        for window in self._windows(start):
            for part in range(number, max(1, -(-len(window.entries) // size))):
                yield self._part(window, range(part * size, min((part + 1) * size, len(window.entries))))
            number = 0

    def rows(self, start: WindowStart, places: Sequence[tuple[int, int]]) -> list[TokenRow]:
        """Give single rows of a window, each named by the number of its record and its own number in the record."""
        numbers = sorted({entry for entry, _ in places})
        if not numbers:
            return []
        part = self._part(next(self._windows(start)), numbers)
        rows: dict[int, list[TokenRow]] = {}
        for row, entry in enumerate(part.entry_of_row.tolist()):
            rows.setdefault(entry, []).append(part.rows[row])
        return [rows[entry][ordinal] for entry, ordinal in places]

    def _windows(self, start: WindowStart) -> Iterator[Window]:
        """Read the windows from one on; the first is kept, since a resume asks for it twice."""
        if self._window is None or self._window.start != start:
            self._window = next(read_windows(self._recipe.sets, self._recipe.windows, start))
        window = self._window
        yield window
        self._window = None
        yield from read_windows(self._recipe.sets, self._recipe.windows, window.next_start)

    def _part(self, window: Window, numbers: Sequence[int]) -> StreamPart:
        """Encode some records of a window."""
        recipe, notes = self._recipe, Notes()
        entries = [window.entries[number] for number in numbers]
        read = [_read(entry, recipe.readings[entry.set_number], recipe.kind) for entry in entries]
        notes.bad_rows.extend(found for found in read if isinstance(found, BadRow))
        sound = [(number, found) for number, found in zip(numbers, read, strict=True) if isinstance(found, Example)]
        marks = self._marks([example for _, example in sound])
        for index in np.flatnonzero(marks).tolist():
            notes.record(sound[index][1], "dropped", HELD_OUT)
        used = [sound[index] for index in np.flatnonzero(~marks).tolist()]
        encoded = Notes()
        rows = build_store(self._encoder.encode([example for _, example in used], encoded))
        owners = _owners([example for _, example in used], encoded)
        if recipe.keeps_traits:
            traits = compute_traits([example for _, example in used])
            rows = replace(rows, traits={name: values[owners] for name, values in traits.items()})
        return StreamPart(
            start=window.start,
            number=numbers[0] // recipe.part_rows if numbers else 0,
            is_last=not numbers or numbers[-1] + 1 == len(window.entries),
            rows=rows,
            entry_of_row=np.array([number for number, _ in used], dtype=np.int64)[owners],
            entered=Counter(recipe.sets[entry.set_number].name for entry in entries),
            notes=_joined(notes, encoded),
        )

    def _marks(self, examples: Sequence[Example]) -> npt.NDArray[np.bool_]:
        """Say which examples training leaves out for the sake of the evaluation rows."""
        held_out = self._recipe.held_out
        if not len(held_out.prompts) and not len(held_out.answers):
            return np.zeros(len(examples), dtype=bool)
        return held_out.marks(compute_traits(examples))


def _joined(one: Notes, other: Notes) -> Notes:
    return Notes(
        outcomes=[*one.outcomes, *other.outcomes],
        bad_rows=[*one.bad_rows, *other.bad_rows],
        too_long=[*one.too_long, *other.too_long],
    )


def _owners(examples: Sequence[Example], notes: Notes) -> Index:
    """Number the example of each token row; examples that could not be used have no outcome and no rows."""
    outcomes = iter(notes.outcomes)
    outcome = next(outcomes, None)
    owners: list[int] = []
    for number, example in enumerate(examples):
        if outcome is not None and outcome.row == example.source:
            owners.extend([number] * outcome.parts)
            outcome = next(outcomes, None)
    return np.array(owners, dtype=np.int64)


def _read(entry: Entry, reading: Reading, kind: RowKind) -> Example | BadRow:
    content, block = entry.content, entry.block
    source = RowRef(dataset=block.dataset, file=block.file, row=content.row or 0)
    if isinstance(content, Fault):
        return BadRow(
            source=source, code=content.code, message=content.message, remedy=content.remedy, line=content.line
        )
    row = Row(source=source, values=content.values)
    try:
        return to_kind(formats.get(reading.format)(row, reading.columns), kind, row, reading)
    except RowError as error:
        return BadRow(source=source, code=error.code, message=error.message, remedy=error.remedy)
