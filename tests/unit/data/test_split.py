# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The split has the size asked for, follows the seed, parts no rows that belong together, and spreads labels."""

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.core.errors import TunesmithError
from tunesmith.data.groups import LONG_ANSWER_CHARS
from tunesmith.data.split import Split, SplitBy, SplitKeys, split_rows


def keys_of(rows: list[tuple[int, int, int]]) -> SplitKeys:
    """Make keys of (prompt, answer, characters of the answer) triples; 0 stands for none."""
    prompts, answers, chars = zip(*rows, strict=True) if rows else ((), (), ())
    return SplitKeys(
        prompt=np.array(prompts, dtype=np.uint64),
        answer=np.array(answers, dtype=np.uint64),
        answer_chars=np.array(chars, dtype=np.int32),
    )


def distinct(count: int) -> SplitKeys:
    return keys_of([(row + 1, row + 1, 200) for row in range(count)])


def assert_parts(split: Split, count: int) -> None:
    assert sorted([*split.train.tolist(), *split.held_out.tolist()]) == list(range(count))


@pytest.mark.parametrize(("val_size", "expected"), [(0.1, 10), (0.25, 25), (1, 1), (7, 7), (0.001, 1)])
def test_the_size_is_a_share_or_a_count(val_size: float, expected: int) -> None:
    split = split_rows(distinct(100), val_size, seed=0)
    assert (len(split.train), len(split.held_out)) == (100 - expected, expected)


def test_the_split_follows_the_seed_and_keeps_the_order() -> None:
    one, same, other = (split_rows(distinct(50), 0.2, seed=seed) for seed in (1, 1, 2))
    assert one.held_out.tolist() == same.held_out.tolist() == sorted(one.held_out.tolist())
    assert one.held_out.tolist() != other.held_out.tolist()


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.booleans()), min_size=20, max_size=80),
    st.floats(0.05, 0.4),
    st.integers(0, 3),
)
def test_no_prompt_and_no_long_answer_is_on_both_sides(
    rows: list[tuple[int, int, bool]], val_size: float, seed: int
) -> None:
    keys = keys_of([(prompt, answer, 100 if is_long else 3) for prompt, answer, is_long in rows])
    try:
        split = split_rows(keys, val_size, seed=seed)
    except TunesmithError as error:
        assert error.problems[0].code == "data.split_impossible"
        return
    assert_parts(split, len(rows))
    assert len(split.held_out)
    prompts = [set(keys.prompt[side].tolist()) - {0} for side in (split.train, split.held_out)]
    assert not prompts[0] & prompts[1]
    common = max(8, 0.1 * len(rows))
    long_ones = [[a for a, c in zip(keys.answer[side], keys.answer_chars[side], strict=True) if c >= LONG_ANSWER_CHARS]
                 for side in (split.train, split.held_out)]  # fmt: skip
    shared = set(long_ones[0]) & set(long_ones[1])
    assert all(not answer or np.count_nonzero(keys.answer == answer) > common for answer in shared)


def test_answers_that_many_rows_share_go_to_one_side() -> None:
    keys = keys_of([(row + 1, 1 + row % 30, 120) for row in range(600)])
    split = split_rows(keys, 0.1, seed=3)
    assert len(split.held_out) == 60
    assert not set(keys.answer[split.held_out].tolist()) & set(keys.answer[split.train].tolist())


def test_labels_are_spread_evenly() -> None:
    labels = [1] * 500 + [2] * 300 + [3] * 200
    keys = keys_of([(row + 1, label, 5) for row, label in enumerate(labels)])
    split = split_rows(keys, 0.1, seed=5)
    assert np.bincount(keys.answer[split.held_out].astype(int)).tolist() == [0, 50, 30, 20]


def test_near_duplicates_go_to_one_side_when_clusters_are_given() -> None:
    cluster = np.arange(90) // 3
    keys = distinct(90)
    split = split_rows(
        SplitKeys(prompt=keys.prompt, answer=keys.answer, answer_chars=keys.answer_chars, cluster=cluster), 0.2, seed=1
    )
    assert len(split.held_out) == 18
    assert not set(cluster[split.held_out].tolist()) & set(cluster[split.train].tolist())


@pytest.mark.parametrize("val_size", [0.13, 25])
def test_random_is_the_split_of_the_datasets_library(val_size: float) -> None:
    rows = datasets.Dataset.from_dict({"row": list(range(203))})
    expected = rows.train_test_split(test_size=val_size, seed=42)
    split = split_rows(distinct(203), val_size, seed=42, by="random")
    assert split.train.tolist() == list(expected["train"]["row"])
    assert split.held_out.tolist() == list(expected["test"]["row"])


def test_random_counts_the_rows_that_it_parts() -> None:
    prompts = split_rows(keys_of([(1 + row // 2, row + 1, 100) for row in range(200)]), 0.2, seed=0, by="random")
    partners = set((prompts.train // 2).tolist())
    assert prompts.num_shared == sum(row // 2 in partners for row in prompts.held_out.tolist()) > 20
    answers = split_rows(keys_of([(row + 1, 1 + row // 2, 100) for row in range(200)]), 0.2, seed=0, by="random")
    assert answers.num_shared == prompts.num_shared
    assert split_rows(distinct(200), 0.2, seed=0, by="random").num_shared == 0
    labels = split_rows(keys_of([(row + 1, 1 + row // 2, 4) for row in range(200)]), 0.2, seed=0, by="random")
    assert labels.num_shared == 0


@pytest.mark.parametrize("by", ["group", "near_duplicates"])
def test_rows_that_all_hang_together_cannot_be_split(by: SplitBy) -> None:
    with pytest.raises(TunesmithError, match="hang together") as caught:
        split_rows(keys_of([(1, row + 1, 90) for row in range(40)]), 0.1, seed=0, by=by)
    assert caught.value.problems[0].code == "data.split_impossible"


def test_many_rows_split_to_the_size_asked() -> None:
    draw = np.random.default_rng(0)
    keys = SplitKeys(
        prompt=draw.integers(1, 1 << 40, 400_000, dtype=np.uint64),
        answer=draw.integers(1, 300_000, 400_000, dtype=np.uint64),
        answer_chars=draw.integers(1, 300, 400_000),
    )
    split = split_rows(keys, 0.01, seed=0)
    assert_parts(split, 400_000)
    assert len(split.held_out) == 4000
