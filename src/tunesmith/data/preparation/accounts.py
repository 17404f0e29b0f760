# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""From what became of the records of each block to the ledger of a preparation and the problems that refuse it.

It sees numbers and row numbers; of each kind of fault it keeps the first one's words and a hundred rows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tunesmith.core.errors import MAX_ROWS_SHOWN, Problem, Where
from tunesmith.core.types import RowRef
from tunesmith.data.blocks import Block
from tunesmith.data.examples import BadRow, bad_rows_problem
from tunesmith.data.ledger import NOT_MIXED, FileRows, Ledger
from tunesmith.data.preparation.encoding import BadGroup, BlockFacts, RowGroup

Rows = npt.NDArray[np.int64]


@dataclass
class _Faults:
    """Rows of one file with the same fault."""

    first: BadRow
    count: int = 0
    rows: list[int] = field(default_factory=list)

    def add(self, rows: Sequence[int]) -> None:
        self.count += len(rows)
        self.rows.extend(rows[: MAX_ROWS_SHOWN - len(self.rows)])


@dataclass
class _TooLong:
    """Rows of one file that `length_policy: refuse` refuses."""

    count: int = 0
    longest: int = 0
    rows: list[int] = field(default_factory=list)

    def add(self, facts: BlockFacts) -> None:
        self.count += len(facts.too_long)
        self.longest = max(self.longest, facts.longest)
        self.rows.extend(facts.too_long[: MAX_ROWS_SHOWN - len(self.rows)])


class Complaints:
    """What is wrong with rows, over all blocks."""

    def __init__(self) -> None:
        self._faults: dict[tuple[str, str, str], _Faults] = {}
        self._too_long: dict[tuple[str, str], _TooLong] = {}

    def add(self, block: Block, facts: BlockFacts) -> None:
        """Take in what was found in a block."""
        for group in facts.bad:
            source = RowRef(dataset=block.dataset, file=block.file, row=group.rows[0])
            first = BadRow(source=source, code=group.code, message=group.message, remedy=group.remedy, line=group.line)
            self._faults.setdefault((block.dataset, block.file, group.code), _Faults(first)).add(group.rows)
        if facts.too_long:
            self._too_long.setdefault((block.dataset, block.file), _TooLong()).add(facts)

    def faults(self) -> list[Problem]:
        """Name the broken rows, a problem for each kind in each file."""
        return [bad_rows_problem(found.first, found.rows, found.count) for found in self._faults.values()]

    def too_long(self, limit: int) -> list[Problem]:
        """Name the rows that `length_policy: refuse` refuses."""
        return [
            Problem(
                code="data.row_too_long",
                message=f"{found.count} rows of {dataset} are longer than cutoff_len {limit}; the longest has "
                f"{found.longest} tokens.",
                remedy="Raise cutoff_len, or choose another length_policy: truncate_prompt, split or drop.",
                where=Where(file=file, dataset=dataset, rows=tuple(found.rows), num_rows=found.count),
            )
            for (dataset, file), found in self._too_long.items()
        ]


def enter_block(
    ledger: Ledger,
    split: str,
    block: Block,
    facts: BlockFacts,
    *,
    held_out: Rows | None = None,
    unmixed: Rows | None = None,
) -> None:
    """Enter the rows of a block; those in `held_out` are evaluation rows, those in `unmixed` no mix reaches."""
    taken, left = _rows(held_out), _rows(unmixed)
    ledger.enter(split, block.dataset, facts.num_rows - len(taken))
    if len(taken):
        ledger.enter("eval", block.dataset, len(taken))
    sides = list(_by_side(facts.groups, taken))
    _add(ledger, "eval", block, [group for group, is_held in sides if is_held])
    own = [group for group, is_held in sides if not is_held]
    _add(ledger, split, block, [group for group, is_left in _by_side(own, left) if not is_left])
    if len(left):
        rows = FileRows(block.dataset, block.file, len(left), tuple(left.tolist()))
        ledger.add(split, rows, "dropped", NOT_MIXED)
    for bad in facts.bad:
        _enter_bad(ledger, split, block, bad)


def _rows(rows: Rows | None) -> Rows:
    return np.zeros(0, dtype=np.int64) if rows is None else rows


def _add(ledger: Ledger, split: str, block: Block, groups: Iterable[RowGroup]) -> None:
    for group in groups:
        ledger.add(split, FileRows(block.dataset, block.file, group.count, group.rows), group.outcome, group.reason)


def _enter_bad(ledger: Ledger, split: str, block: Block, bad: BadGroup) -> None:
    rows = FileRows(block.dataset, block.file, len(bad.rows), bad.rows)
    ledger.add_broken(split, rows, bad.code, bad.message)


def _by_side(groups: Sequence[RowGroup], held_out: npt.NDArray[np.int64]) -> Iterable[tuple[RowGroup, bool]]:
    """Part groups by the rows that are held out; of rows without a name only the count is known."""
    if not len(held_out):
        return [(group, False) for group in groups]
    found: list[tuple[RowGroup, bool]] = []
    left = len(held_out)
    named = [group for group in groups if group.reason and group.outcome != "dropped"]
    for group in named:
        rows = np.array(group.rows, dtype=np.int64)
        is_held = np.isin(rows, held_out)
        left -= int(is_held.sum())
        found += [(_some(group, rows[~is_held]), False), (_some(group, rows[is_held]), True)]
    for group in groups:
        if not group.reason:
            whole = RowGroup(outcome=group.outcome, reason="", count=group.count - left)
            found += [(whole, False), (RowGroup(outcome=group.outcome, reason="", count=left), True)]
            left = 0
        elif group.outcome == "dropped":
            found.append((group, False))
    return [(group, is_held) for group, is_held in found if group.count]


def _some(group: RowGroup, rows: npt.NDArray[np.int64]) -> RowGroup:
    return RowGroup(outcome=group.outcome, reason=group.reason, count=len(rows), rows=tuple(rows.tolist()))
