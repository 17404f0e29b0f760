# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Micro-batches of a stream as a data loader, and the position in the stream that a checkpoint keeps.

The position is a seek, not a replay: the start of a window, the number of a part of it, and the few rows that wait.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from tunesmith.core.types import LayoutKind, TokenRow
from tunesmith.data.bins import MicroBatch
from tunesmith.data.plan import PlanRules
from tunesmith.data.stream import TrainStream
from tunesmith.data.stream_parts import StreamPart
from tunesmith.data.stream_plan import plan_part
from tunesmith.data.stream_windows import WindowStart
from tunesmith.training.batches import Inputs, collate_inputs

# Numbers of epochs, windows and parts as one number for the plan; no window has 2**16 parts.
_WINDOWS, _PARTS = 2**24, 2**16


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    """A row that has its place in a later step: the record of the window and the row of it."""

    row: TokenRow
    entry: int
    ordinal: int


class StreamedBatches(Dataset[list[TokenRow]]):
    """The micro-batches of one rank, one after the other. What was taken last is the position."""

    def __init__(self, stream: TrainStream, rules: PlanRules, *, num_batches: int, rank: int = 0) -> None:
        """`num_batches` are those of the whole run."""
        self._stream, self._rules, self._rank = stream, rules, rank
        self._num_batches = num_batches
        self._done = 0
        self._batches: list[MicroBatch] = []
        self._taken = 0
        self._rows: list[_Waiting] = []
        self._left: list[_Waiting] = []
        self._carried: list[_Waiting] = []
        self._part: StreamPart | None = None
        self._ledger_before: Mapping[str, Any] = stream.ledger.to_state()
        self._parts: Iterator[StreamPart] | None = None

    def __len__(self) -> int:
        """Count the micro-batches of the whole run."""
        return self._num_batches

    def __getitem__(self, number: int) -> list[TokenRow]:
        """Give the rows of a micro-batch; they come in order only."""
        assert number == self._done, "a stream is read in order"
        if self._parts is None:
            self._parts = self._stream.begin()
        while self._taken == len(self._batches):
            self._take(next(self._parts))
        rows = [self._rows[row].row for row in self._batches[self._taken]]
        self._taken += 1
        self._done += 1
        return rows

    def position(self) -> dict[str, Any]:
        """Say where the stream stands, in plain JSON values."""
        part = self._part
        return {
            "micro_batches": self._done,
            "window": None if part is None else part.start.to_json(),
            "part": 0 if part is None else part.number,
            "taken": self._taken,
            "carried": [[one.entry, one.ordinal] for one in self._carried],
            "ledger": self._ledger_before,
        }

    def restore(self, position: Mapping[str, Any]) -> None:
        """Go to a position."""
        self._stream.ledger.restore(position["ledger"])
        self._ledger_before = position["ledger"]
        if position["window"] is None:
            return
        start = WindowStart.from_json(position["window"])
        places = [(entry, ordinal) for entry, ordinal in position["carried"]]
        rows, self._parts = self._stream.resume(start, position["part"], places)
        self._left = [
            _Waiting(row=row, entry=entry, ordinal=ordinal) for row, (entry, ordinal) in zip(rows, places, strict=True)
        ]
        self._take(next(self._parts))
        self._taken, self._done = position["taken"], position["micro_batches"]

    def loader(self, *, layout: LayoutKind, pad_id: int) -> DataLoader[list[TokenRow]]:
        """Give the data loader of the run; it draws nothing from the global random generator."""
        return DataLoader(
            self,
            batch_sampler=_InOrder(self._num_batches),
            collate_fn=partial(_collate, layout=layout, pad_id=pad_id),
            generator=torch.Generator().manual_seed(0),
        )

    def close(self) -> None:
        """End the look-ahead."""
        self._stream.close()

    def _take(self, part: StreamPart) -> None:
        """Go on to a part: the rows that wait and its own are planned together."""
        self._ledger_before = self._stream.ledger.to_state()
        self._stream.account(part)
        self._part, self._carried, self._taken = part, self._left, 0
        self._rows = [*self._left, *_rows_of(part)]
        start = part.start
        plan = plan_part(
            np.array([one.row.num_tokens for one in self._rows], dtype=np.int32),
            self._rules,
            number=(start.epoch * _WINDOWS + start.number) * _PARTS + part.number,
            is_last=part.is_last,
            rank=self._rank,
        )
        self._batches = plan.batches
        self._left = [self._rows[row] for row in plan.left.tolist()]


class _InOrder:
    """The numbers of the micro-batches, each as a batch of its own: skipping some costs nothing."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[list[int]]:
        for number in range(self._count):
            yield [number]


def _rows_of(part: StreamPart) -> Iterator[_Waiting]:
    before, ordinal = -1, 0
    for number, entry in enumerate(part.entry_of_row.tolist()):
        ordinal = ordinal + 1 if entry == before else 0
        before = entry
        yield _Waiting(row=part.rows[number], entry=entry, ordinal=ordinal)


def _collate(items: list[list[TokenRow]], *, layout: LayoutKind, pad_id: int) -> Inputs:
    (rows,) = items
    return collate_inputs(rows, layout=layout, pad_id=pad_id)
