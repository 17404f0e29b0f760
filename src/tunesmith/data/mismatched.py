# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rows with an answer that belongs to another prompt: a view that gives each row its successor's answer as well.

KTO estimates from such pairs how far the policy has moved. The successor is the next row that is left after the
preparation, so that a broken row harms only itself, and it does not depend on how rows are split into batches.
"""

import hashlib
from dataclasses import replace
from functools import cached_property

import numpy as np

from tunesmith.core.types import IntArray, RowRef, TokenRow
from tunesmith.data.store import TokenRows, Traits
from tunesmith.objectives.base import Objective

MISMATCHED = "mismatched"
_PROMPT = 0  # the first segment; the answer is the second


def rows_for(objective: type[Objective], rows: TokenRows) -> TokenRows:
    """Give rows as a loss needs them: with an answer to another prompt where it asks for one."""
    return MismatchedRows(rows) if objective.needs_other_answers else rows


class MismatchedRows:
    """Feedback rows, each with a third segment: the next row's answer under this row's prompt."""

    def __init__(self, rows: TokenRows) -> None:
        self._rows = rows

    def __len__(self) -> int:
        """Count the rows."""
        return len(self._rows)

    def __getitem__(self, index: int) -> TokenRow:
        """Give row `index`; a single row has no successor."""
        row = self._rows[index]
        if len(self) == 1:
            return row
        other = self._rows[(index + 1) % len(self)]
        start = other.segment_lengths[_PROMPT]
        return replace(
            row,
            input_ids=np.concatenate([row.input_ids, other.input_ids[start:]]),
            weights=np.concatenate([row.weights, other.weights[start:]]),
            segment_lengths=(*row.segment_lengths, other.num_tokens - start),
            segment_parents=(*row.segment_parents, _PROMPT),
            segment_names=(*row.segment_names, MISMATCHED),
        )

    def source(self, index: int) -> RowRef:
        """Say where row `index` came from."""
        return self._rows.source(index)

    @cached_property
    def lengths(self) -> IntArray:
        """Tokens of each row, with the other answer."""
        return self._with_successors(self._rows.lengths, [self._rows[place].segment_lengths[0] for place in self._all])

    @cached_property
    def num_supervised(self) -> IntArray:
        """Tokens with a non-zero loss weight, of each row."""
        return self._with_successors(self._rows.num_supervised, [0] * len(self))

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the rows in their order (sha256, hex)."""
        return hashlib.sha256(f"{MISMATCHED}:{self._rows.fingerprint}".encode()).hexdigest()

    @property
    def traits(self) -> Traits:
        """Numbers of each row that judgement and splitting read."""
        return self._rows.traits

    @property
    def _all(self) -> range:
        return range(len(self))

    def _with_successors(self, counts: IntArray, shared: list[int]) -> IntArray:
        if len(self) == 1:
            return counts
        added: IntArray = (counts + np.roll(counts - np.array(shared, dtype=np.int32), -1)).astype(np.int32)
        return added
