# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Texts become rows without losing a token, unless the length policy says so."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import Example, RowRef, TokenRow
from tunesmith.data.encoders.base import EncodeRules, LengthPolicy, Notes
from tunesmith.data.encoders.text import TextEncoder
from tunesmith.templates.base import TrainPolicy


class WordTokenizer:
    """Gives every word of a text the number it says."""

    eos_token_id: int | None = 0

    def __call__(self, texts: list[str], **_: object) -> dict[str, list[list[int]]]:
        return {"input_ids": [[int(word) for word in text.split()] for text in texts]}


def encode(
    texts: list[str], *, cutoff_len: int, policy: LengthPolicy = "truncate_prompt"
) -> tuple[list[TokenRow], Notes]:
    rules = EncodeRules(
        tokenizer=WordTokenizer(),  # type: ignore[arg-type]
        template=None,
        policy=TrainPolicy(),
        cutoff_len=cutoff_len,
        length_policy=policy,
    )
    notes = Notes()
    examples = [
        Example(kind="text", source=RowRef(dataset="d", file="f", row=row), text=text) for row, text in enumerate(texts)
    ]
    rows = list(TextEncoder(rules).encode(examples, notes))
    assert len(notes.outcomes) + len(notes.too_long) == len(texts)
    assert sum(outcome.parts for outcome in notes.outcomes) == len(rows)
    return rows, notes


def ids(rows: list[TokenRow]) -> list[list[int]]:
    return [row.input_ids.tolist() for row in rows]


def outcomes(notes: Notes) -> list[tuple[int, str, str]]:
    return [(row.row, outcome, reason) for row, outcome, reason, _ in notes.outcomes]


TEXTS = ["1 2 3", "4", "5 6 7 8 9"]


@pytest.mark.parametrize("policy", ["truncate_prompt", "split"])
def test_a_long_text_is_continued(policy: LengthPolicy) -> None:
    rows, notes = encode(TEXTS, cutoff_len=4, policy=policy)
    assert ids(rows) == [[1, 2, 3, 0], [4, 0], [5, 6, 7, 8], [9, 0]]
    assert [row.source.row for row in rows] == [0, 1, 2, 2]
    assert outcomes(notes) == [(0, "kept", ""), (1, "kept", ""), (2, "split", "parts")]


def test_the_policy_drops_refuses_or_cuts() -> None:
    rows, notes = encode(TEXTS, cutoff_len=4, policy="drop")
    assert ids(rows) == [[1, 2, 3, 0], [4, 0]] and outcomes(notes)[2] == (2, "dropped", "too_long")
    rows, notes = encode(TEXTS, cutoff_len=4, policy="refuse")
    assert len(rows) == 2 and [(row.row, length) for row, length in notes.too_long] == [(2, 6)]
    rows, notes = encode(TEXTS, cutoff_len=4, policy="ratio")
    assert ids(rows)[2] == [5, 6, 7, 8] and outcomes(notes)[2] == (2, "cut", "ratio_text")


def test_the_first_token_of_a_row_is_no_target() -> None:
    rows, _ = encode(["1 2 3 4 5"], cutoff_len=4)
    assert [row.weights.tolist() for row in rows] == [[0, 1, 1, 1], [0, 1]]


def test_an_end_token_is_not_doubled() -> None:
    assert ids(encode(["1 0"], cutoff_len=4)[0]) == [[1, 0]]


def test_empty_texts_are_dropped_by_name() -> None:
    rows, notes = encode(["", "  ", "1"], cutoff_len=4)
    assert ids(rows) == [[1, 0]]
    assert outcomes(notes) == [(0, "dropped", "text_empty"), (1, "dropped", "text_empty"), (2, "kept", "")]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(1, 9), max_size=12), max_size=12), st.integers(2, 9))
def test_no_token_is_lost(texts: list[list[int]], cutoff_len: int) -> None:
    rows, notes = encode([" ".join(map(str, text)) for text in texts], cutoff_len=cutoff_len)
    assert [token for row in ids(rows) for token in row] == [token for text in texts if text for token in [*text, 0]]
    assert all(len(row) <= cutoff_len for row in ids(rows))
    assert sum(outcome == "dropped" for _, outcome, _ in outcomes(notes)) == sum(not text for text in texts)


def test_a_tokenizer_without_end_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WordTokenizer, "eos_token_id", None)
    with pytest.raises(TunesmithError, match=r"data\.end_token_missing"):
        encode(["1"], cutoff_len=4)


def test_real_texts_come_back(tokenizer: PreTrainedTokenizerBase) -> None:
    rules = EncodeRules(
        tokenizer=tokenizer, template=None, policy=TrainPolicy(), cutoff_len=8, length_policy="truncate_prompt"
    )
    text = "The tunesmith tuned a small model, and it sang."
    example = Example(kind="text", source=RowRef(dataset="d", file="f", row=0), text=text)
    rows = list(TextEncoder(rules).encode([example], Notes()))
    joined = np.concatenate([row.input_ids for row in rows])
    assert joined[-1] == tokenizer.eos_token_id and tokenizer.decode(joined[:-1]) == text
