# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The trained answers of tokenised rows, runs of tokens with a loss weight, found in a few passes over flat arrays."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tunesmith.data.store import TokenStore

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Spans [starts[i], ends[i]) of answers in the flat tokens of a store, and the row of each.

    `last_tokens` holds the last trained token of every row, -1 in a row without one.
    """

    starts: Positions
    ends: Positions
    rows: Positions
    last_tokens: Positions

    def __len__(self) -> int:
        """Count the answers."""
        return len(self.starts)


def find_answers(store: TokenStore) -> Answers:
    """Find all runs of trained tokens; a run ends with its row."""
    offsets: npt.NDArray[Any] = store.arrays["token_offsets"]
    trained = np.asarray(store.arrays["weights"]) != 0
    before = np.concatenate([[False], trained[:-1]]) if len(trained) else trained
    is_first = np.zeros(len(trained), dtype=bool)
    is_first[offsets[:-1][offsets[:-1] < len(trained)]] = True
    starts = np.flatnonzero(trained & (~before | is_first))
    after = np.concatenate([trained[1:], [False]]) if len(trained) else trained
    next_first = np.concatenate([is_first[1:], [True]]) if len(trained) else trained
    ends = np.flatnonzero(trained & (~after | next_first)) + 1
    rows = np.searchsorted(offsets, starts, side="right") - 1
    last_tokens = np.full(len(store), -1, dtype=np.int64)
    last_tokens[rows] = np.asarray(store.arrays["input_ids"])[ends - 1]  # spans come in order: the last one stays
    return Answers(starts=starts, ends=ends, rows=rows, last_tokens=last_tokens)
