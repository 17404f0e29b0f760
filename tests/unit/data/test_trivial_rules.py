# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A rule that sees only how answers begin wins where the beginning tells, and half the time where it does not."""

from collections.abc import Sequence

import numpy as np
import pytest

from tunesmith.core.types import NO_PARENT, RowRef, TokenRow
from tunesmith.data.store import TokenStore, build_store
from tunesmith.data.trivial_rules import OpeningRule


def pairs(openings: Sequence[tuple[int, int]], *, seed: int) -> TokenStore:
    """Make pairs whose answers begin with a token each, and go on at random."""
    return build_store(_pair(number, first, second, seed) for number, (first, second) in enumerate(openings))


def _pair(number: int, first: int, second: int, seed: int) -> TokenRow:
    generator = np.random.default_rng((seed, number))
    ids = generator.integers(1000, 10**9, 12).astype(np.int32)
    ids[4], ids[8] = first, second
    return TokenRow(
        source=RowRef(dataset="made", file="made.jsonl", row=number),
        input_ids=ids,
        weights=np.repeat([0.0, 1.0], [4, 8]).astype(np.float32),
        segment_lengths=(4, 4, 4),
        segment_parents=(NO_PARENT, 0, 0),
        segment_names=("prompt", "chosen", "rejected"),
    )


def test_a_beginning_that_tells_wins_on_pairs_never_seen() -> None:
    rule = OpeningRule(pairs([(7, 8)] * 30, seed=0))
    assert rule.wins(pairs([(7, 8)] * 10, seed=1)) == (10, 10)
    assert rule.wins(pairs([(8, 7)] * 10, seed=1)) == (0, 10)


def test_what_tells_nothing_wins_half() -> None:
    rule = OpeningRule(pairs([(7, 8), (8, 7)] * 15, seed=0))
    won, count = rule.wins(pairs([(7, 8), (8, 7)] * 10, seed=1))
    assert won / count == pytest.approx(0.5)
    assert rule.wins(pairs([(501, 502)] * 4, seed=1)) == (2, 4)
