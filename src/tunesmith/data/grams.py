# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Runs of tokens as hashes: what two rows have in common is counted in them, for any script and without texts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tunesmith.core.types import TokenRow
from tunesmith.data.store import Piece, TokenRows, pieces_of

Hashes = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

# Three tokens: one changed word costs three runs, so a text of some thirty words with one changed is still near.
GRAM_TOKENS = 3

# What a tenth of the prompts of a set have in common (task, system prompt) tells no row from another, nor does what
# nearly all rows have (template).
_COMMON_SHARE, _MIN_COMMON_ROWS = 0.1, 10
_UNIVERSAL_SHARE = 0.9
_SAMPLE_ROWS = 2048

_PIECE_ROWS = 2048
_TABLE_BITS = 20
_FACTORS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9))
_MIX = np.uint64(0xFF51AFD7ED558CCD)


@dataclass(frozen=True, kw_only=True)
class Grams:
    """Runs of some rows: those of row `rows[i]` are [offsets[i], offsets[i + 1]) of `hashes`, in their order.

    A run is of an answer when its last token is trained.
    """

    rows: Numbers
    hashes: Hashes
    offsets: Numbers
    of_answer: Mask

    def select(self, keep: Mask) -> "Grams":
        """Give the runs that a mask keeps."""
        before = np.concatenate([[0], np.cumsum(keep)])
        return Grams(
            rows=self.rows, hashes=self.hashes[keep], offsets=before[self.offsets], of_answer=self.of_answer[keep]
        )


def grams_of(input_ids: npt.NDArray[np.integer[Any]]) -> Hashes:
    """Hash every run of `GRAM_TOKENS` tokens of one row."""
    ids = input_ids.astype(np.uint64)
    count = max(len(ids) - GRAM_TOKENS + 1, 0)
    hashes = np.zeros(count, dtype=np.uint64)
    for place, factor in enumerate(_FACTORS):
        hashes = (hashes + ids[place : place + count] + np.uint64(1)) * factor
        hashes ^= hashes >> np.uint64(29)
    hashes *= _MIX
    return hashes ^ (hashes >> np.uint64(32))


def iterate_grams(rows: TokenRows) -> Iterator[Grams]:
    """Give the runs of all rows, some thousand rows at a time, in any order."""
    for piece in pieces_of(rows):
        for start in range(0, len(piece.rows), _PIECE_ROWS):
            yield _piece_grams(piece, start, min(start + _PIECE_ROWS, len(piece.rows)))


def _piece_grams(piece: Piece, start: int, end: int) -> Grams:
    offsets = np.asarray(piece.offsets[start : end + 1], dtype=np.int64)
    hashes = grams_of(piece.input_ids[offsets[0] : offsets[-1]])
    of_answer = piece.weights[offsets[0] : offsets[-1]][GRAM_TOKENS - 1 :] != 0
    lengths = np.maximum(np.diff(offsets) - GRAM_TOKENS + 1, 0)
    is_inside = np.ones(len(hashes), dtype=bool)
    for back in range(1, GRAM_TOKENS):  # Runs that begin in one row and end in the next.
        borders = offsets[1:-1] - offsets[0] - back
        is_inside[borders[(borders >= 0) & (borders < len(hashes))]] = False
    return Grams(
        rows=piece.rows[start:end],
        hashes=hashes[is_inside],
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        of_answer=of_answer[is_inside],
    )


def common_grams(rows: TokenRows, numbers: Numbers) -> tuple[Hashes, Hashes]:
    """Find the runs that many prompts hold, and those that nearly all rows hold, judged on at most 2,048 rows."""
    places = np.linspace(0, len(numbers) - 1, min(len(numbers), _SAMPLE_ROWS)).astype(np.int64)
    sample = [rows[int(number)] for number in numbers[places]]
    everywhere = common_of([grams_of(row.input_ids) for row in sample], _UNIVERSAL_SHARE)
    return common_of([_prompt_grams(row) for row in sample]), everywhere


def _prompt_grams(row: TokenRow) -> Hashes:
    grams: Hashes = grams_of(row.input_ids)[row.weights[GRAM_TOKENS - 1 :] == 0]
    return grams


def common_of(texts: Sequence[Hashes], share: float = _COMMON_SHARE) -> Hashes:
    """Find the runs that a share of some texts hold, and no fewer than ten of them."""
    every = [np.unique(text) for text in texts]
    found, counts = np.unique(np.concatenate([np.zeros(0, dtype=np.uint64), *every]), return_counts=True)
    return found[counts >= max(_MIN_COMMON_ROWS, share * len(texts))]


class Membership:
    """Says which hashes are among some few, by a table first."""

    def __init__(self, members: Hashes) -> None:
        self._members = np.unique(members)
        self._table = np.zeros(1 << _TABLE_BITS, dtype=bool)
        self._table[self._places(self._members)] = True

    def of(self, hashes: Hashes) -> Mask:
        """Give a mask of the hashes that are among them."""
        found = self._table[self._places(hashes)]
        candidates = np.flatnonzero(found)
        found[candidates] = np.isin(hashes[candidates], self._members)
        return found

    @staticmethod
    def _places(hashes: Hashes) -> Hashes:
        return hashes >> np.uint64(64 - _TABLE_BITS)
