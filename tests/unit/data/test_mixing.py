# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Mixed sets come in exactly the order that `datasets`, and so LLaMA-Factory, gives them."""

from collections import Counter

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.core.errors import TunesmithError
from tunesmith.data.mixing import MixStrategy, mix_sets, shares_of

STRATEGIES: dict[MixStrategy, str] = {
    "interleave_under": "first_exhausted",
    "interleave_over": "all_exhausted",
    "interleave_once": "all_exhausted_without_replacement",
}
sizes_and_weights = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 9)), min_size=2, max_size=4)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("weights", [None, [0.5, 0.2, 0.3]])
def test_the_order_is_that_of_the_datasets_library(strategy: MixStrategy, weights: list[float] | None) -> None:
    sizes = [40, 1300, 7]
    starts = np.cumsum([0, *sizes])
    parts = [datasets.Dataset.from_dict({"row": range(starts[i], starts[i + 1])}) for i in range(3)]
    expected = datasets.interleave_datasets(
        parts,
        probabilities=weights,
        seed=11,
        stopping_strategy=STRATEGIES[strategy],
    )
    assert mix_sets(sizes, strategy=strategy, weights=weights, seed=11).tolist() == list(expected["row"])


def test_sets_lie_end_to_end_unless_interleaved() -> None:
    assert mix_sets([2, 3]).tolist() == [0, 1, 2, 3, 4]
    assert mix_sets([3], strategy="interleave_over", weights=[1.0]).tolist() == [0, 1, 2]


@settings(max_examples=60, deadline=None)
@given(sizes_and_weights, st.sampled_from(sorted(STRATEGIES)), st.booleans(), st.integers(0, 3))
def test_each_strategy_takes_the_rows_it_promises(
    sets: list[tuple[int, int]], strategy: MixStrategy, is_weighted: bool, seed: int
) -> None:
    sizes, weights = [size for size, _ in sets], [float(weight) for _, weight in sets]
    mixed = mix_sets(sizes, strategy=strategy, weights=weights if is_weighted else None, seed=seed)
    assert (
        mixed.tolist()
        == mix_sets(sizes, strategy=strategy, weights=weights if is_weighted else None, seed=seed).tolist()
    )
    owners = np.searchsorted(np.cumsum(sizes), mixed, side="right")
    taken = [mixed[owners == number] - sum(sizes[:number]) for number in range(len(sizes))]
    for rows, size in zip(taken, sizes, strict=True):
        assert rows.tolist() == [number % size for number in range(len(rows))], "each set in its own order"
    counts = Counter(owners.tolist())
    reached = [counts[number] >= size for number, size in enumerate(sizes)]
    if strategy == "interleave_once":
        assert sorted(mixed.tolist()) == list(range(sum(sizes)))
    elif strategy == "interleave_over":
        assert all(reached)
    else:
        assert any(reached)
        assert len(set(mixed.tolist())) == len(mixed)


def test_weights_are_shares_of_any_sum() -> None:
    one = mix_sets([500, 500], strategy="interleave_over", weights=[3, 1], seed=2)
    assert one.tolist() == mix_sets([500, 500], strategy="interleave_over", weights=[0.75, 0.25], seed=2).tolist()
    assert np.mean(one < 500) == pytest.approx(0.75, abs=0.05)


@pytest.mark.parametrize("weights", [[0.5], [1, -1], [0, 0], [float("nan"), 1]])
def test_wrong_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(TunesmithError, match="interleave_probs is") as caught:
        shares_of(weights, 2)
    assert caught.value.problems[0].code == "data.mix_weights_invalid"


def test_a_set_without_weight_cannot_come_to_its_end() -> None:
    with pytest.raises(TunesmithError, match="never drawn"):
        mix_sets([3, 3], strategy="interleave_over", weights=[1, 0])
    assert mix_sets([3, 3], strategy="interleave_under", weights=[1, 0]).tolist() == [0, 1, 2]
