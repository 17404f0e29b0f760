# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Sets of a stream take turns as sets in memory do; drawn by weight, each window has draws of its own."""

import pytest

from tunesmith.core.errors import TunesmithError
from tunesmith.data.mixing import MixRules, MixStrategy, mix_sets
from tunesmith.data.stream_order import Mixer


def epoch_of(sizes: list[int], rules: MixRules, window_size: int = 5) -> list[int]:
    """Read an epoch of sets of some sizes; give the positions of the rows in the sets laid end to end."""
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    taken, ended, turn, window = [0] * len(sizes), [False] * len(sizes), 0, 0
    rows: list[int] = []
    while True:
        mixer = Mixer(rules, turn=turn, ended=ended)
        if mixer.is_over:
            return rows
        for count, number in enumerate(mixer.sets((0, window)), start=1):
            rows.append(starts[number] + taken[number])
            taken[number] += 1
            if taken[number] == sizes[number]:
                mixer.ended[number] = True
                taken[number] = 0 if mixer.starts_anew else taken[number]
            if count == window_size:
                break
        ended, turn, window = mixer.ended, mixer.turn, window + 1


@pytest.mark.parametrize("strategy", ["concat", "interleave_under", "interleave_over", "interleave_once"])
@pytest.mark.parametrize("sizes", [[3, 4, 5], [7, 1, 7], [2, 2], [6]])
@pytest.mark.parametrize("window_size", [1, 4, 100])
def test_turns_are_those_of_sets_in_memory(strategy: MixStrategy, sizes: list[int], window_size: int) -> None:
    expected = mix_sets(sizes, strategy=strategy).tolist()
    assert epoch_of(sizes, MixRules(strategy=strategy), window_size) == expected


@pytest.mark.parametrize("strategy", ["interleave_under", "interleave_over", "interleave_once"])
def test_weights_draw_each_strategy_to_its_end(strategy: MixStrategy) -> None:
    sizes = [300, 100]
    rows = epoch_of(sizes, MixRules(strategy=strategy, weights=(0.8, 0.2), seed=4), 64)
    share = sum(row < 300 for row in rows[:200]) / 200
    assert share == pytest.approx(0.8, abs=0.1)
    distinct = [len({row for row in rows if (row < 300) == is_first}) for is_first in (True, False)]
    if strategy == "interleave_under":
        assert distinct[0] == 300 or distinct[1] == 100
        assert len(set(rows)) == len(rows) < 400
    else:
        assert distinct == sizes
    if strategy == "interleave_once":
        assert sorted(rows) == list(range(400))


def test_weights_must_fit_the_sets() -> None:
    with pytest.raises(TunesmithError, match="3 values for 2"):
        Mixer(MixRules(strategy="interleave_once", weights=(1, 1, 1)), turn=0, ended=[False, False])
