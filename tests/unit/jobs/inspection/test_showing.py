# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rows shown token by token: runs by state, and what a limit cut away put back where it was."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.core.types import NO_PARENT, RowRef, TokenRow
from tunesmith.data.store import build_store
from tunesmith.jobs.inspection.facts import LedgerLine
from tunesmith.jobs.inspection.selection import Pick
from tunesmith.jobs.inspection.showing import line_of, show_row
from tunesmith.jobs.inspection.token_text import TokenTexts
from tunesmith.jobs.inspection.uncut import put_back

SOURCE = RowRef(dataset="d", file="d.jsonl", row=3)


class Letters(TokenTexts):
    """Token 1 is the letter a, and so on; 0 is a control token."""

    def __init__(self) -> None:
        self._special = frozenset({0})

    def _decode(self, ids: object) -> str:
        assert isinstance(ids, (list, tuple))
        return "".join("|" if token == 0 else chr(96 + token) for token in ids)


def token_row(ids: list[int], weights: list[float], lengths: tuple[int, ...] = ()) -> TokenRow:
    """Make a row of one segment, or of a prompt and an answer of the lengths given."""
    return TokenRow(
        source=SOURCE,
        input_ids=np.array(ids, dtype=np.int32),
        weights=np.array(weights, dtype=np.float32),
        segment_lengths=lengths or (len(ids),),
        segment_parents=(NO_PARENT, 0) if lengths else (NO_PARENT,),
        segment_names=("prompt", "chosen") if lengths else ("text",),
    )


def pick(row: TokenRow) -> Pick:
    return Pick(split="train", rows=build_store([row]), index=0, why="first")


def test_runs_are_of_one_state_and_weight_and_control_tokens_stand_alone() -> None:
    shown = show_row(pick(token_row([0, 0, 1, 2, 3, 4], [0, 0, 0, 1, 0.5, 0.5])), Letters(), None, None)
    runs = [(run.state, run.text, run.is_special, run.weight) for run in shown.segments[0].runs]
    assert runs == [
        ("context", "|", True, 0),
        ("context", "|", True, 0),
        ("context", "a", False, 0),
        ("trained", "b", False, 1),
        ("trained", "cd", False, 0.5),
    ]
    assert (shown.num_tokens, shown.num_supervised, shown.outcome) == (6, 3, "kept")


def test_segments_name_what_they_continue() -> None:
    shown = show_row(pick(token_row([1, 2, 3], [0, 1, 1], (1, 2))), Letters(), None, None)
    found = [(one.name, one.parent, one.num_tokens, one.num_supervised) for one in shown.segments]
    assert found == [("prompt", None, 1, 0), ("chosen", "prompt", 2, 2)]


def test_what_was_cut_is_shown_where_it_was() -> None:
    line = LedgerLine(
        split="train", dataset="d", file="d.jsonl", outcome="cut", reason="prompt_cut", text="middle left out",
        is_choice=False, count=1, rows=(3,),
    )  # fmt: skip
    assert line_of(SOURCE, [line]) is line
    whole = token_row([1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 1, 1])
    shown = show_row(pick(token_row([1, 9, 5, 6], [0, 0, 1, 1])), Letters(), line, whole)
    runs = [(run.state, run.text) for run in shown.segments[0].runs]
    assert runs == [("context", "a"), ("cut", "bcd"), ("context", "i"), ("trained", "ef")]
    assert (shown.num_cut, shown.reason) == (3, "middle left out")


@given(st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 3), max_size=12))
def test_no_token_of_either_side_is_lost(ids: list[int], whole: list[int]) -> None:
    weights = [float(place % 2) for place in range(len(ids))]
    marked = put_back(ids, weights, whole)
    kept = [
        (token, weight) for token, weight, state in zip(marked.ids, marked.weights, marked.states, strict=True)
        if state != "cut"
    ]  # fmt: skip
    assert kept == list(zip(ids, weights, strict=True))
    cut = [token for token, state in zip(marked.ids, marked.states, strict=True) if state == "cut"]
    assert len(cut) <= len(whole) and (cut == [] if ids == whole else True)
    remaining = iter(whole)
    assert all(token in remaining for token in cut), "what was cut stands in the whole row in this order"


@pytest.mark.parametrize("size", [2500])
def test_long_stretches_are_not_compared_token_by_token(size: int) -> None:
    marked = put_back([*range(size)], [0.0] * size, [*range(size, 0, -1)])
    assert marked.states.count("cut") == size
