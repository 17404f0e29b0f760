# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rows with a common key are of one group, over any chain; labels and common answers are no keys."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.data.groups import LONG_ANSWER_CHARS, group_by_keys, grouping_answers, label_of_rows


def by_hand(rows: list[tuple[int, int, bool]]) -> list[set[int]]:
    groups: list[set[int]] = []
    for number, (prompt, answer, counts) in enumerate(rows):
        near = [
            group
            for group in groups
            if any(rows[one][0] == prompt or (counts and rows[one][2] and rows[one][1] == answer) for one in group)
        ]
        groups = [group for group in groups if group not in near] + [set.union({number}, *near)]
    return groups


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.booleans()), min_size=1, max_size=25))
def test_groups_are_the_connected_rows(rows: list[tuple[int, int, bool]]) -> None:
    prompts, answers, counts = (np.array(column) for column in zip(*rows, strict=True))
    groups = group_by_keys(len(rows), [(prompts, None), (answers, counts)])
    found = [set(np.flatnonzero(groups == number).tolist()) for number in range(groups.max() + 1)]
    assert found == sorted(by_hand(rows), key=min), "numbered by their first rows"


def test_a_long_chain_is_one_group() -> None:
    links = np.random.default_rng(0).permutation(2000)
    assert not group_by_keys(2000, [(links // 2, None), ((links + 1) // 2, None)]).any()


def test_labels_and_common_answers_are_no_keys() -> None:
    answers = np.array([1] * 30 + [2] * 5 + [3] * 5 + list(range(100, 160)), dtype=np.uint64)
    chars = np.array([300] * 30 + [300] * 5 + [3] * 5 + [90] * 60)
    counts = grouping_answers(answers, chars)
    assert counts.tolist() == [False] * 30 + [True] * 5 + [False] * 5 + [True] * 60


def test_labels_are_short_answers_that_several_rows_share() -> None:
    answers = np.array([7] * 6 + [8] * 6 + [9] * 2 + [5] * 6, dtype=np.uint64)
    chars = np.array([2] * 6 + [LONG_ANSWER_CHARS - 1] * 6 + [1] * 2 + [LONG_ANSWER_CHARS] * 6)
    labels = label_of_rows(answers, chars)
    assert len(set(labels[:6].tolist())) == len(set(labels[6:12].tolist())) == 1
    assert labels[0] and labels[6] and labels[0] != labels[6]
    assert not labels[12:].any()
