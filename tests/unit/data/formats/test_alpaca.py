# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Alpaca rows become conversations as LLaMA-Factory makes them, or are refused with the reason."""

import pytest

from tests.unit.data.rows import read, refused, turns


def test_instruction_and_input_are_joined_by_a_line_break() -> None:
    example = read("alpaca", {"instruction": "Add.", "input": "2+2", "output": "4"})
    assert example.kind == "supervised"
    assert turns(example) == [("user", "Add.\n2+2"), ("assistant", "4")]


@pytest.mark.parametrize("empty", [{"input": ""}, {"input": None}, {}])
def test_an_empty_input_adds_nothing(empty: dict[str, str | None]) -> None:
    assert turns(read("alpaca", {"instruction": "Hi", "output": "Yes", **empty}))[0] == ("user", "Hi")


def test_history_and_system_come_first() -> None:
    row = {"instruction": "c", "output": "d", "history": [["a", "b"]], "system": "s"}
    expected = [("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    assert turns(read("alpaca", row)) == expected
    assert turns(read("alpaca", {**row, "history": '[["a", "b"]]'})) == expected


def test_columns_are_renamed_one_by_one() -> None:
    example = read("alpaca", {"question": "q", "input": "i", "output": "o"}, columns={"prompt": "question"})
    assert turns(example) == [("user", "q\ni"), ("assistant", "o")]


def test_a_column_set_to_null_is_not_read() -> None:
    example = read("alpaca", {"instruction": "a", "output": "b", "system": "s"}, columns={"system": None})
    assert turns(example) == [("user", "a"), ("assistant", "b")]


def test_a_ranking_row_is_a_pair() -> None:
    example = read("alpaca", {"instruction": "a", "chosen": "good", "rejected": "bad"}, ranking=True)
    assert example.kind == "preference"
    assert turns(example) == [("user", "a")]
    assert example.chosen[0].content == "good" and example.rejected[0][0].content == "bad"


def test_feedback_labels_are_truth_values() -> None:
    row = {"instruction": "a", "output": "b", "label": False}
    example = read("alpaca", row, columns={"kto_tag": "label"})
    assert example.kind == "feedback" and example.label is False
    assert refused("alpaca", {**row, "label": "false"}, columns={"kto_tag": "label"}).code == "data.type_wrong"


def test_a_row_without_response_is_a_prompt() -> None:
    assert read("alpaca", {"instruction": "a"}).kind == "prompt"


@pytest.mark.parametrize(
    ("row", "code", "word"),
    [
        ({"instruktion": "a", "output": "b"}, "data.column_missing", "Did you mean 'instruktion'"),
        ({"instruction": "a", "output": 5}, "data.type_wrong", "number (5)"),
        ({"instruction": ["a"], "output": "b"}, "data.type_wrong", "a list"),
        ({"instruction": None, "output": "b"}, "data.value_missing", "null"),
        ({"instruction": "a", "output": "b", "history": [["x"]]}, "data.type_wrong", "pair"),
        ({"instruction": "a", "output": "b", "history": {"x": 1}}, "data.type_wrong", "an object"),
        ({"instruction": "a", "output": "b", "images": ["x.png"]}, "data.media_unsupported", "'images'"),
        ({"instruction": "a \ud83d", "output": "b"}, "data.encoding_wrong", "half a character"),
    ],
)
def test_broken_rows_are_refused(row: dict[str, object], code: str, word: str) -> None:
    error = refused("alpaca", row)
    assert error.code == code
    assert word in error.message + error.remedy
