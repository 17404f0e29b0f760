# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Records of a stream in windows: mixed from the data sets, shuffled within a window, resumed by seeking.

A window is a pure function of where it starts. It knows records, and nothing of what they mean.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tunesmith.core.errors import Problem, TunesmithError, Where, refusal
from tunesmith.data.blocks import Block, Place, Position, cut_blocks, read_block
from tunesmith.data.mixing import MixRules
from tunesmith.data.sets import DataSet
from tunesmith.data.sources.base import Fault, Record
from tunesmith.data.stream_order import Mixer


@dataclass(frozen=True, kw_only=True)
class SetState:
    """Where one data set stands: a place between blocks, how many records behind it were taken, whether it ended."""

    place: Place = field(default_factory=Place)
    taken: int = 0
    has_ended: bool = False


@dataclass(frozen=True, kw_only=True)
class WindowStart:
    """Everything a window follows from: epoch, its number in it, the turn of the mix, and the state of each set."""

    sets: tuple[SetState, ...]
    epoch: int = 0
    number: int = 0
    turn: int = 0

    @classmethod
    def first(cls, num_sets: int, *, epoch: int = 0) -> "WindowStart":
        """Give the start of an epoch."""
        return cls(sets=(SetState(),) * num_sets, epoch=epoch)

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> "WindowStart":
        """Read what `to_json` gave."""
        sets = tuple(
            SetState(
                place=Place(file=one["place"]["file"], position=Position(**one["place"]["position"])),
                taken=one["taken"],
                has_ended=one["has_ended"],
            )
            for one in saved["sets"]
        )
        return cls(sets=sets, epoch=saved["epoch"], number=saved["number"], turn=saved["turn"])


class Entry(NamedTuple):
    """A record or its fault, the block it stands in, and the number of its data set."""

    set_number: int
    block: Block
    content: Record | Fault


@dataclass(frozen=True, kw_only=True)
class Window:
    """The records of a window in the order of training, and where the next one starts."""

    start: WindowStart
    entries: Sequence[Entry]
    next_start: WindowStart


@dataclass(frozen=True, kw_only=True)
class WindowRules:
    """How many records a window has, how sets are mixed, and whether a window is shuffled."""

    size: int
    mix: MixRules = field(default_factory=MixRules)
    shuffle: bool = True


def read_windows(sets: Sequence[DataSet], rules: WindowRules, start: WindowStart) -> Iterator[Window]:
    """Give the windows from one on, epoch after epoch, without end."""
    while True:
        cursors = [_Cursor(one, state) for one, state in zip(sets, start.sets, strict=True)]
        mixer = Mixer(rules.mix, turn=start.turn, ended=[state.has_ended for state in start.sets])
        if start.number == 0 and not all(cursor.has_more for cursor in cursors):
            empty = next(cursor.name for cursor in cursors if not cursor.has_more)
            raise refusal("data.set_empty", f"The data set {empty} has no rows.", "Leave it out.", dataset=empty)
        while not mixer.is_over:
            entries = _fill(cursors, mixer, rules.size, (start.epoch, start.number))
            if mixer.is_over:
                following = WindowStart.first(len(sets), epoch=start.epoch + 1)
            else:
                states = tuple(cursor.state(ended) for cursor, ended in zip(cursors, mixer.ended, strict=True))
                following = WindowStart(sets=states, epoch=start.epoch, number=start.number + 1, turn=mixer.turn)
            yield Window(start=start, entries=_shuffled(entries, rules, start), next_start=following)
            start = following
            if start.number == 0:
                break


def _fill(cursors: "Sequence[_Cursor]", mixer: Mixer, size: int, window: tuple[int, int]) -> list[Entry]:
    """Take records from the sets as they are mixed, until the window is full or the epoch is over."""
    entries: list[Entry] = []
    for number in mixer.sets(window):
        cursor = cursors[number]
        entries.append(Entry(number, *cursor.take()))
        if not cursor.has_more:
            mixer.ended[number] = True
            if mixer.starts_anew:
                cursor.begin(SetState())
        if len(entries) == size:
            break
    return entries


def _shuffled(entries: list[Entry], rules: WindowRules, start: WindowStart) -> Sequence[Entry]:
    if not rules.shuffle:
        return entries
    order = np.random.default_rng((rules.mix.seed, start.epoch, start.number, 1)).permutation(len(entries))
    return [entries[index] for index in order.tolist()]


class _Cursor:
    """Goes through the records of one data set, a block in memory at a time."""

    def __init__(self, data_set: DataSet, state: SetState) -> None:
        self._set = data_set
        self.begin(state)

    @property
    def name(self) -> str:
        """Name of the data set."""
        return self._set.name

    def begin(self, state: SetState) -> None:
        """Go to a state."""
        self._blocks = cut_blocks(self._set, start=state.place)
        self._next_place, self._place = state.place, state.place
        self._entries: list[Record | Fault] = []
        self._block: Block | None = None
        self._taken = 0
        for _ in range(state.taken):
            if self.has_more:
                self.take()

    @property
    def has_more(self) -> bool:
        """Say whether a record is left; reads the next block if need be."""
        while self._taken >= len(self._entries):
            block = next(self._blocks, None)
            if block is None:
                return False
            if block.faults:
                raise TunesmithError([_problem(block, fault) for fault in block.faults])
            self._place, self._next_place = self._next_place, block.end
            self._block, self._entries, self._taken = block, list(read_block(block)), 0
        return True

    def take(self) -> tuple[Block, Record | Fault]:
        """Give the next record and its block."""
        assert self.has_more and self._block is not None, "the reader looks before it takes"
        self._taken += 1
        return self._block, self._entries[self._taken - 1]

    def state(self, has_ended: bool) -> SetState:
        """Say where the set stands."""
        return SetState(place=self._place, taken=self._taken, has_ended=has_ended)


def _problem(block: Block, fault: Fault) -> Problem:
    where = Where(file=block.file, line=fault.line, dataset=block.dataset)
    return Problem(code=fault.code, message=f"{block.file}: {fault.message}", remedy=fault.remedy, where=where)
