# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Which data set the next record of a stream comes from: one set after the other, in turns, or drawn by weight.

It knows sets only as numbers; who reads them says when one has ended.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from tunesmith.data.mixing import MixRules, shares_of

_DRAWS = 1024


class Mixer:
    """The order of the sets in one epoch. Its whole state between windows is `turn` and `ended`."""

    def __init__(self, rules: MixRules, *, turn: int, ended: Sequence[bool]) -> None:
        self.turn = turn
        self.ended = list(ended)
        self._rules = rules
        self._shares = None
        if rules.weights is not None and rules.strategy != "concat" and len(self.ended) > 1:
            self._shares = shares_of(rules.weights, len(self.ended))

    @property
    def starts_anew(self) -> bool:
        """Say whether a set that has ended is read again from its start."""
        return self._rules.strategy == "interleave_over"

    @property
    def is_over(self) -> bool:
        """Say whether the epoch has ended; sets that take turns finish their round."""
        if self._rules.strategy in ("concat", "interleave_once"):
            return all(self.ended)
        is_mid_round = self._shares is None and self.turn % len(self.ended) != 0
        has_ended = any if self._rules.strategy == "interleave_under" else all
        return has_ended(self.ended) and not is_mid_round

    def sets(self, window: tuple[int, int]) -> Iterator[int]:
        """Name the sets to read from, one a record, until the epoch is over; `window` is its epoch and number.

        The reader writes `ended` as it goes.
        """
        draws = self._draws(window)
        while not self.is_over:
            number = next(draws)
            if self.ended[number] and not self.starts_anew:
                continue
            yield number

    def _draws(self, window: tuple[int, int]) -> Iterator[int]:
        if self._rules.strategy == "concat" or len(self.ended) == 1:
            while True:
                yield self.ended.index(False) if False in self.ended else 0
        if self._shares is None:
            while True:
                self.turn += 1
                yield (self.turn - 1) % len(self.ended)
        generator = np.random.default_rng((self._rules.seed, *window))
        while True:
            yield from generator.choice(len(self.ended), size=_DRAWS, p=self._shares).tolist()
