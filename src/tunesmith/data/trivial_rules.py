# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""How often a rule without any understanding picks the chosen answer: what reward accuracies must be compared with.

A rule learns from the training pairs alone how often answers with some first tokens were chosen.
"""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from tunesmith.core.types import TokenRow
from tunesmith.data.store import TokenRows

OPENING_WINS = "rules/opening_wins"
_OPENING_TOKENS = 3
_MAX_ROWS = 20_000

Opening = tuple[int, ...]


class OpeningRule:
    """Prefers the answer whose first tokens were chosen more often; the longest opening that was seen decides."""

    def __init__(self, rows: TokenRows) -> None:
        self._chosen: Counter[Opening] = Counter()
        self._rejected: Counter[Opening] = Counter()
        for number in np.linspace(0, len(rows) - 1, min(len(rows), _MAX_ROWS)).astype(np.int64).tolist():
            for name, opening in _openings(rows[number]):
                counts = self._chosen if name == "chosen" else self._rejected
                counts.update(opening[:size] for size in range(1, len(opening) + 1))

    def score(self, opening: Opening) -> float:
        """Give how often an answer that begins so was chosen, one half where none did."""
        for size in range(len(opening), 0, -1):
            chosen, rejected = self._chosen[opening[:size]], self._rejected[opening[:size]]
            if chosen + rejected:
                return (chosen + 1) / (chosen + rejected + 2)
        return 0.5

    def wins(self, rows: TokenRows) -> tuple[float, float]:
        """Count the pairs in which the rule prefers the chosen answer, ties half, and all pairs."""
        won = pairs = 0.0
        for number in range(len(rows)):
            scores = [(name, self.score(opening)) for name, opening in _openings(rows[number])]
            chosen = next((score for name, score in scores if name == "chosen"), 0.5)
            for name, score in scores:
                if name == "rejected":
                    won += (np.sign(chosen - score) + 1) / 2
                    pairs += 1
        return float(won), pairs


def _openings(row: TokenRow) -> Iterator[tuple[str, Opening]]:
    """Give the first tokens of each answer."""
    start = 0
    for name, length in zip(row.segment_names, row.segment_lengths, strict=True):
        if name in ("chosen", "rejected"):
            yield name, tuple(row.input_ids[start : start + min(length, _OPENING_TOKENS)].tolist())
        start += length
