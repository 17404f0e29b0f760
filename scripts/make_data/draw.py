# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Seeded draws whose sequence is the same on every Python version, so that the data files are reproducible."""

import random
from collections.abc import Sequence
from typing import TypeVar

Choice = TypeVar("Choice")


class Draw:
    """Choices built on `random.Random.random` alone, the one method whose sequence Python guarantees."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def below(self, limit: int) -> int:
        """Draw an integer from 0 to limit - 1."""
        return int(self._random.random() * limit)

    def one(self, options: Sequence[Choice]) -> Choice:
        """Draw one of several options."""
        return options[self.below(len(options))]

    def some(self, options: Sequence[Choice], count: int) -> list[Choice]:
        """Draw `count` different options, in random order."""
        rest = list(options)
        return [rest.pop(self.below(len(rest))) for _ in range(count)]

    def happens(self, probability: float) -> bool:
        """Draw whether something happens."""
        return self._random.random() < probability
