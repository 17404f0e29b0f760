# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Texts one after the other in full rows, as a view over their own rows: no token is copied before it is read.

Used by stage pt. The last row holds what is left; each row begins anew, so that its first token is never a target.
"""

import hashlib
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tunesmith.core.types import IntArray, RowRef, TokenRow
from tunesmith.data.bins import offsets_of
from tunesmith.data.store import RowsView, TokenRows, Traits


class JoinedTexts:
    """Rows of `length` tokens across the texts of other rows, in their order; named after their first token's text."""

    def __init__(self, texts: TokenRows, length: int) -> None:
        """`texts` are rows of plain text, of any lengths."""
        self._texts = texts
        self._length = length
        self._offsets = offsets_of(texts.lengths)

    def __len__(self) -> int:
        """Count the joined rows."""
        return -(-int(self._offsets[-1]) // self._length)

    def __getitem__(self, index: int) -> TokenRow:
        """Give row `index`."""
        start, end = self._span(index)
        first = self._text_at(start)
        last = self._text_at(end - 1)
        ids = np.concatenate([self._texts[text].input_ids for text in range(first, last + 1)])
        ids = ids[start - self._offsets[first] : end - self._offsets[first]]
        weights = np.ones(len(ids), dtype=np.float32)
        weights[0] = 0.0
        return TokenRow(source=self._texts.source(first), input_ids=ids, weights=weights, segment_lengths=(len(ids),))

    def source(self, index: int) -> RowRef:
        """Say where the first token of row `index` came from."""
        return self._texts.source(self._text_at(self._span(index)[0]))

    def _span(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = index * self._length
        return start, min(start + self._length, int(self._offsets[-1]))

    def _text_at(self, token: int) -> int:
        return int(np.searchsorted(self._offsets, token, side="right")) - 1

    @property
    def texts(self) -> TokenRows:
        """The rows that are joined."""
        return self._texts

    @cached_property
    def lengths(self) -> IntArray:
        """Tokens of each row."""
        lengths = np.full(len(self), self._length, dtype=np.int32)
        if len(lengths):
            lengths[-1] = self._offsets[-1] - (len(lengths) - 1) * self._length
        return lengths

    @property
    def num_supervised(self) -> IntArray:
        """Tokens with a non-zero loss weight, of each row."""
        return self.lengths - np.int32(1)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the rows in their order (sha256, hex)."""
        return hashlib.sha256(f"joined:{self._length}:{self._texts.fingerprint}".encode()).hexdigest()

    @property
    def traits(self) -> Traits:
        """Numbers of the text that each row begins with."""
        return RowsView(self._texts, self._first_texts).traits

    @cached_property
    def _first_texts(self) -> npt.NDArray[np.int64]:
        starts = np.arange(len(self), dtype=np.int64) * self._length
        return np.searchsorted(self._offsets, starts, side="right") - 1
