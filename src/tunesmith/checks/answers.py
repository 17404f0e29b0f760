# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The trained answers of tokenised rows, runs of tokens with a loss weight, found in a few passes over flat arrays."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tunesmith.data.store import Piece, TokenRows, pieces_of

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Spans [starts[i], ends[i]) of answers in the flat tokens of some rows, and the number of the row of each."""

    piece: Piece
    starts: Positions
    ends: Positions
    rows: Positions

    def __len__(self) -> int:
        """Count the answers."""
        return len(self.starts)

    @property
    def last_tokens(self) -> npt.NDArray[np.integer[Any]]:
        """The last token of each answer."""
        return self.piece.input_ids[self.ends - 1]

    def token_ids(self, number: int) -> tuple[int, ...]:
        """The tokens of one answer."""
        return tuple(self.piece.input_ids[self.starts[number] : self.ends[number]].tolist())


def iterate_answers(rows: TokenRows) -> Iterator[Answers]:
    """Find all runs of trained tokens, some rows at a time; a run ends with its row."""
    for piece in pieces_of(rows):
        yield _find(piece)


def last_trained_tokens(rows: TokenRows) -> npt.NDArray[np.int32]:
    """Give the last trained token of each row, -1 in a row without one."""
    last = np.full(len(rows), -1, dtype=np.int32)
    for answers in iterate_answers(rows):
        last[answers.rows] = answers.last_tokens  # spans come in order: the last one of a row stays
    return last


def _find(piece: Piece) -> Answers:
    trained = piece.weights != 0
    nothing = np.zeros(min(1, len(trained)), dtype=bool)
    is_first = np.zeros(len(trained) + 1, dtype=bool)
    is_first[piece.offsets] = True
    before, after = np.concatenate([nothing, trained[:-1]]), np.concatenate([trained[1:], nothing])
    starts = np.flatnonzero(trained & (~before | is_first[:-1]))
    ends = np.flatnonzero(trained & (~after | is_first[1:])) + 1
    places = np.searchsorted(piece.offsets, starts, side="right") - 1
    return Answers(piece=piece, starts=starts, ends=ends, rows=piece.rows[places])
