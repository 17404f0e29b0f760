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


@pytest.mark.parametrize(
    ("label", "truth"), [(False, False), ("false", False), ("True", True), ("0", False), (1, True), (0, False)]
)
def test_feedback_labels_say_what_they_say(label: object, truth: bool) -> None:
    example = read("alpaca", {"instruction": "a", "output": "b", "label": label}, columns={"kto_tag": "label"})
    assert example.kind == "feedback" and example.label is truth


@pytest.mark.parametrize("label", ["no", "falsch", 2, -1, 0.5, [False]])
def test_feedback_labels_that_say_neither_are_refused(label: object) -> None:
    row = {"instruction": "a", "output": "b", "label": label}
    assert refused("alpaca", row, columns={"kto_tag": "label"}).code == "data.type_wrong"


def test_a_list_of_outputs_is_a_ranking_best_first() -> None:
    example = read("alpaca", {"instruction": "a", "output": ["best", "worse", "worst"]})
    assert example.kind == "preference"
    assert [message.content for message in example.chosen] == ["best"]
    assert [[message.content for message in turns] for turns in example.rejected] == [["worse"], ["worst"]]
    assert refused("alpaca", {"instruction": "a", "output": ["alone"]}).code == "data.answer_missing"


def test_several_rejected_answers_stay_one_row() -> None:
    example = read("alpaca", {"instruction": "a", "chosen": "good", "rejected": ["bad", "worse"]}, ranking=True)
    assert [turns[0].content for turns in example.rejected] == ["bad", "worse"]


def test_further_columns_are_kept_for_rewards() -> None:
    row = {"instruction": "a", "output": "b", "margin": 0.5, "solution": "42", "empty": None}
    assert read("alpaca", row).fields == {"margin": 0.5, "solution": "42"}
    example = read("alpaca", row, columns={"reference_answer": "solution"})
    assert example.reference_answer == "42" and example.fields["solution"] == "42"


@pytest.mark.parametrize(("answer", "text"), [("a", "a"), (72, "72"), (0.5, "0.5"), (["x", "y"], '["x", "y"]')])
def test_reference_answers_keep_their_form(answer: object, text: str) -> None:
    row = {"instruction": "a", "solution": answer}
    assert read("alpaca", row, columns={"reference_answer": "solution"}).reference_answer == text


def test_media_come_in_the_order_of_their_placeholders() -> None:
    row = {"instruction": "<image> and <audio>", "output": "b <image>", "images": ["1.png", "2.png"], "audios": "3.wav"}
    assert [medium["source"] for medium in read("alpaca", row).media] == ["1.png", "3.wav", "2.png"]


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
        ({"instruction": "a", "output": "b", "images": ["x.png"]}, "data.media_count_wrong", "0 <image>"),
        ({"instruction": "a \ud83d", "output": "b"}, "data.encoding_wrong", "half a character"),
    ],
)
def test_broken_rows_are_refused(row: dict[str, object], code: str, word: str) -> None:
    error = refused("alpaca", row)
    assert error.code == code
    assert word in error.message + error.remedy
