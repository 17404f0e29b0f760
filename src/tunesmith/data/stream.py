# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A training set that is read while training goes on: its recipe, its ledger, and what is done about broken rows.

Its first rows were judged before the run; the others are judged when they are read, and none is dropped silently.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from tunesmith.core.errors import Problem, TunesmithError, Where, refusal
from tunesmith.core.types import RowRef, TokenRow
from tunesmith.data.examples import group_bad_rows
from tunesmith.data.ledger import HELD_OUT, Ledger
from tunesmith.data.stream_ahead import PartsAhead
from tunesmith.data.stream_parts import PartReader, StreamPart, StreamRecipe
from tunesmith.data.stream_windows import WindowStart

# So many records are prepared and judged before the run.
HEAD_ROWS = 10_000


@dataclass(kw_only=True)
class TrainStream:
    """A stream and the ledger of its rows read so far; `looks_ahead` lets a process prepare what comes next."""

    recipe: StreamRecipe
    max_row_loss: float
    may_drop_broken: bool
    looks_ahead: bool = True
    ledger: Ledger = field(default_factory=Ledger)
    _ahead: PartsAhead | None = None
    _epoch: int = 0
    _has_rows: bool = True  # of what was read before a resume nothing is known

    def begin(self) -> Iterator[StreamPart]:
        """Give the parts from the beginning."""
        return self._from(PartReader(self.recipe), WindowStart.first(len(self.recipe.sets)), 0)

    def resume(
        self, start: WindowStart, number: int, places: Sequence[tuple[int, int]]
    ) -> tuple[list[TokenRow], Iterator[StreamPart]]:
        """Give some rows of a window, named by record and number in the record, and the parts from one on."""
        reader = PartReader(self.recipe)
        return reader.rows(start, places), self._from(reader, start, number)

    def _from(self, reader: PartReader, start: WindowStart, number: int) -> Iterator[StreamPart]:
        self.close()
        parts = reader.parts(start, number)
        if not self.looks_ahead:
            return parts
        # The first part is prepared here, so that nothing waits for a process to start.
        self._ahead = PartsAhead(self.recipe, next(parts))
        return self._ahead

    def close(self) -> None:
        """End the look-ahead, if there is one."""
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def account(self, part: StreamPart) -> None:
        """Enter a part in the ledger; refuse broken rows, and more lost rows than allowed."""
        self._refuse_barren_epoch(part)
        self._enter(part, self.ledger)
        # As many as the head may lose are allowed at any time: a share of few rows says little.
        if self.ledger.num_lost > self.max_row_loss * HEAD_ROWS:
            problems = self.ledger.losses(self.max_row_loss)
            if problems:
                raise TunesmithError(problems)

    def judge(self, head: StreamPart, *, held_out: Set[RowRef], left_out: Set[RowRef]) -> Ledger:
        """Give the ledger of the first rows: evaluation rows, rows left out for them, and the others.

        Broken rows are refused.
        """
        ledger = Ledger()
        self._enter(head, ledger, held_out, left_out)
        return ledger

    def _enter(
        self,
        part: StreamPart,
        ledger: Ledger,
        held_out: Set[RowRef] = frozenset(),
        left_out: Set[RowRef] = frozenset(),
    ) -> None:
        num_held = Counter(row.dataset for row, _, _, _ in part.notes.outcomes if row in held_out)
        for name, count in part.entered.items():
            ledger.enter("train", name, count - num_held[name])
            if num_held[name]:
                ledger.enter("eval", name, num_held[name])
        for row, outcome, reason, _ in part.notes.outcomes:
            if row in left_out:
                ledger.record("train", row, "dropped", HELD_OUT)
            else:
                ledger.record("eval" if row in held_out else "train", row, outcome, reason)
        problems = [self._too_long(row, length) for row, length in part.notes.too_long[:1]]
        if self.may_drop_broken:
            for bad in part.notes.bad_rows:
                ledger.drop_broken("train", bad.source, bad.code, bad.message)
        else:
            problems.extend(group_bad_rows(part.notes.bad_rows))
        if problems:
            raise TunesmithError(problems)

    def _refuse_barren_epoch(self, part: StreamPart) -> None:
        """Refuse to read on for ever where no row of a whole epoch can be used."""
        if part.start.epoch > self._epoch:
            if not self._has_rows:
                raise refusal(
                    "data.rows_none",
                    f"No row of the stream can be used.\n{self.ledger.table()}",
                    "The lines above say why rows were dropped.",
                )
            self._epoch, self._has_rows = part.start.epoch, False
        self._has_rows = self._has_rows or len(part.rows) > 0

    def _too_long(self, row: RowRef, length: int) -> Problem:
        return Problem(
            code="data.row_too_long",
            message=f"Row {row.row} of {row.file} has {length} tokens, more than cutoff_len "
            f"{self.recipe.rules.cutoff_len}.",
            remedy="Raise cutoff_len, or choose another length_policy: truncate_prompt or drop.",
            where=Where.of_rows([row.row], file=row.file, dataset=row.dataset),
        )

    @property
    def fingerprint(self) -> str:
        """Hash what tells one stream from another without reading it: names and sizes of the files."""
        digest = hashlib.sha256()
        for data_set in self.recipe.sets:
            for path in data_set.files:
                digest.update(f"{data_set.name}:{path.name}:{Path(path).stat().st_size};".encode())
        return digest.hexdigest()
