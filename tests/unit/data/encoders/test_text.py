# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Texts become rows without losing a token, one after the other or apart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import Example, RowRef, TokenRow
from tunesmith.data.encoders.base import EncodeRules, Notes
from tunesmith.data.encoders.text import TextEncoder
from tunesmith.data.ledger import Ledger
from tunesmith.templates.base import TrainPolicy


class WordTokenizer:
    """Gives every word of a text the number it says."""

    eos_token_id: int | None = 0

    def __call__(self, texts: list[str], **_: object) -> dict[str, list[list[int]]]:
        return {"input_ids": [[int(word) for word in text.split()] for text in texts]}


def encode(texts: list[str], *, cutoff_len: int, concatenate: bool) -> tuple[list[TokenRow], Ledger]:
    rules = EncodeRules(
        tokenizer=WordTokenizer(),  # type: ignore[arg-type]
        template=None,
        policy=TrainPolicy(),
        cutoff_len=cutoff_len,
        length_policy="truncate_prompt",
        concatenate=concatenate,
    )
    ledger = Ledger()
    ledger.enter("train", "d", len(texts))
    notes = Notes()
    examples = [
        Example(kind="text", source=RowRef(dataset="d", file="f", row=row), text=text) for row, text in enumerate(texts)
    ]
    rows = list(TextEncoder(rules).encode(examples, notes))
    for row, outcome, reason, _ in notes.outcomes:
        ledger.record("train", row, outcome, reason)
    ledger.check(1.0)
    return rows, ledger


def ids(rows: list[TokenRow]) -> list[list[int]]:
    return [row.input_ids.tolist() for row in rows]


def test_texts_follow_one_another() -> None:
    rows, ledger = encode(["1 2 3", "4", "5 6 7 8 9"], cutoff_len=4, concatenate=True)
    assert ids(rows) == [[1, 2, 3, 0], [4, 0, 5, 6], [7, 8, 9, 0]]
    assert [row.source.row for row in rows] == [0, 1, 2]
    assert (ledger.count("kept"), ledger.count("split")) == (2, 1)


def test_texts_apart_have_rows_of_their_own() -> None:
    rows, ledger = encode(["1 2 3", "4", "5 6 7 8 9"], cutoff_len=4, concatenate=False)
    assert ids(rows) == [[1, 2, 3, 0], [4, 0], [5, 6, 7, 8], [9, 0]]
    assert (ledger.count("kept"), ledger.count("split")) == (2, 1)


def test_the_first_token_of_a_row_is_no_target() -> None:
    rows, _ = encode(["1 2 3 4 5"], cutoff_len=4, concatenate=True)
    assert [row.weights.tolist() for row in rows] == [[0, 1, 1, 1], [0, 1]]


def test_an_end_token_is_not_doubled() -> None:
    assert ids(encode(["1 0"], cutoff_len=4, concatenate=True)[0]) == [[1, 0]]


def test_empty_texts_are_dropped_by_name() -> None:
    rows, ledger = encode(["", "  ", "1"], cutoff_len=4, concatenate=True)
    assert ids(rows) == [[1, 0]]
    assert [(entry["reason"], entry["rows"]) for entry in ledger.to_json()["reasons"]] == [("text_empty", [0, 1])]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(1, 9), max_size=12), max_size=12), st.integers(2, 9), st.booleans())
def test_no_token_is_lost(texts: list[list[int]], cutoff_len: int, concatenate: bool) -> None:
    rows, ledger = encode([" ".join(map(str, text)) for text in texts], cutoff_len=cutoff_len, concatenate=concatenate)
    expected = [token for text in texts if text for token in [*text, 0]]
    assert [token for row in ids(rows) for token in row] == expected
    assert all(len(row) <= cutoff_len for row in ids(rows))
    if concatenate:
        assert all(len(row) == cutoff_len for row in ids(rows)[:-1])
    assert ledger.count("dropped") == sum(not text for text in texts)


def test_a_tokenizer_without_end_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WordTokenizer, "eos_token_id", None)
    with pytest.raises(TunesmithError, match=r"data\.end_token_missing"):
        encode(["1"], cutoff_len=4, concatenate=True)


def test_real_texts_come_back(tokenizer: PreTrainedTokenizerBase) -> None:
    rules = EncodeRules(
        tokenizer=tokenizer,
        template=None,
        policy=TrainPolicy(),
        cutoff_len=8,
        length_policy="truncate_prompt",
        concatenate=True,
    )
    text = "The tunesmith tuned a small model, and it sang."
    example = Example(kind="text", source=RowRef(dataset="d", file="f", row=0), text=text)
    rows = list(TextEncoder(rules).encode([example], Notes()))
    joined = np.concatenate([row.input_ids for row in rows])
    assert joined[-1] == tokenizer.eos_token_id and tokenizer.decode(joined[:-1]) == text
