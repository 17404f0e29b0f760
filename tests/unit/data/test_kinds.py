# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rows are given in the kind that the stage needs where that loses nothing, and refused otherwise."""

from typing import Any

import pytest

from tests.unit.data.rows import conversation, read
from tunesmith.core.types import Example, RowKind, RowRef
from tunesmith.data.formats.base import Columns, Row, RowError
from tunesmith.data.kinds import to_kind
from tunesmith.data.recognition import Reading

QUESTION = {"instruction": "a", "output": "b", "history": [["c", "d"]]}


def convert(example: Example, kind: RowKind, name: str = "openai") -> Example:
    row = Row(source=RowRef(dataset="d", file="f", row=0), values={})
    return to_kind(example, kind, row, Reading(format=name, columns=Columns()))


def test_an_answer_becomes_what_a_reward_compares_with() -> None:
    prompt = convert(read("alpaca", QUESTION), "prompt")
    assert [message.content for message in conversation(prompt).messages] == ["c", "d", "a"]
    assert (prompt.kind, prompt.reference_answer) == ("prompt", "b")
    named = read("alpaca", {**QUESTION, "solution": "42"}, columns={"reference_answer": "solution"})
    assert convert(named, "prompt").reference_answer == "42"


def test_an_answer_is_near_to_its_question() -> None:
    contrast = convert(read("alpaca", QUESTION), "contrast")
    assert [[message.content for message in turns] for turns in contrast.positives] == [["b"]]
    assert conversation(contrast).messages[-1].role == "user"


def test_a_lone_prompt_is_a_text() -> None:
    assert convert(read("alpaca", {"instruction": "a"}), "text").text == "a"


@pytest.mark.parametrize(
    ("name", "values", "kind", "code"),
    [
        ("alpaca", {"instruction": "a"}, "supervised", "data.column_missing"),
        ("openai", {"messages": [{"role": "user", "content": "a"}]}, "supervised", "data.answer_missing"),
        ("alpaca", QUESTION, "text", "data.kind_wrong"),
        ("alpaca", QUESTION, "feedback", "data.kind_wrong"),
        ("alpaca", {"instruction": "a", "output": ["b", "c"]}, "supervised", "data.kind_wrong"),
        ("text", {"text": "a"}, "supervised", "data.kind_wrong"),
        ("text", {"text": "a", "images": ["1.png"]}, "text", "data.media_unsupported"),
        ("labelled", {"text": "a", "label": "b"}, "supervised", "data.kind_wrong"),
    ],
)
def test_what_would_lose_or_invent_something_is_refused(
    name: str, values: dict[str, Any], kind: RowKind, code: str
) -> None:
    with pytest.raises(RowError) as caught:
        convert(read(name, values), kind, name)
    assert caught.value.code == code
