# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Labelled rows: as such, as prompts whose answers can be checked, exams, contrasts and judged solutions."""

import json
from typing import Any

import pytest

from tests.unit.data.rows import read, refused, turns

PERSON = {"start_idx": 0, "end_idx": 3, "entity_text": "Ann", "entity_label": "PER", "entity_names": ["人名", "姓名"]}
CITY = {"entity_text": "Oslo", "entity_label": "GPE", "entity_names": ["地缘政治实体", "地理实体"]}


def test_a_class_is_a_label_or_an_answer() -> None:
    row = {"text": "a", "label": "sports"}
    labelled = read("labelled", row)
    assert (labelled.kind, labelled.label, turns(labelled)) == ("labelled", "sports", [("user", "a")])
    asked = read("classification", row)
    assert asked.kind == "supervised" and turns(asked)[1:] == [("user", "a"), ("assistant", "sports")]
    assert turns(read("classification", {**row, "system": "own"}))[0] == ("system", "own")


def test_candidates_are_named_in_the_prompt() -> None:
    row = {"text": "{candidates}", "category": "Sports, Politics", "output": "Sports"}
    columns = {"label": "output", "candidates": "category"}
    assert turns(read("classification_zh", row, columns=columns))[1:] == [
        ("user", "文本:{candidates},类型选型:Sports, Politics"),
        ("assistant", "Sports"),
    ]
    assert refused("classification", {**row, "output": "Music"}, columns=columns).code == "data.label_unknown"


@pytest.mark.parametrize("name", ["ner", "ner_zh"])
def test_entities_are_one_json_document(name: str) -> None:
    example = read(name, {"text": "Ann lives in Oslo.", "entities": [PERSON, CITY]})
    answer = json.loads(turns(example)[-1][1])
    assert [entity["entity_text"] for entity in answer] == ["Ann", "Oslo"]
    expected = {"ner": ["person", "geopolitical entity"], "ner_zh": ["人名", "地理实体"]}[name]
    assert [entity["entity_label"] for entity in answer] == expected
    assert json.loads(turns(read(name, {"text": "Nothing.", "entities": []}))[-1][1]) == []


def test_an_unknown_entity_is_an_error_of_its_row_and_never_takes_the_label_before_it() -> None:
    unknown = {"entity_text": "Oslo", "entity_label": "FOOD", "entity_names": ["dish"]}
    error = refused("ner_zh", {"text": "Ann lives in Oslo.", "entities": [PERSON, unknown]})
    assert error.code == "data.label_unknown" and "'FOOD'" in error.message and "'Oslo'" in error.message
    assert refused("ner", {"text": "Ann", "entities": [CITY]}).code == "data.entity_absent"


def test_an_exam_question_is_asked_with_its_choices() -> None:
    row = {"id": "0", "question": "q", "A": "one", "B": "two", "C": 3, "answer": "B", "explanation": "e"}
    example = read("exam", row)
    assert turns(example) == [("user", "q\nA. one\nB. two\nC. 3"), ("assistant", "B")]
    assert example.fields == {"id": "0", "explanation": "e"}
    assert read("exam", {key: row[key] for key in ("question", "A", "B")}).kind == "prompt"
    assert refused("exam", {**row, "answer": "D"}).code == "data.label_unknown"


def test_contrasts_have_one_or_many_far_texts() -> None:
    pair = read("contrast", {"anchor": "a", "positive": "b", "score": "2.5"}, columns={"similarity": "score"})
    assert (pair.kind, pair.label, turns(pair)) == ("contrast", 2.5, [("user", "a")])
    many = read("contrast", {"anchor": "a", "positive": ["b"], "negative": ["c", "d"]})
    assert [turn.content for (turn,) in many.negatives] == ["c", "d"]
    row = {"anchor": "a", "positive": "b", "negative_2": "d", "negative_1": "c", "negative_10": "e", "note": 1}
    numbered = read("contrast", row)
    assert [turn.content for (turn,) in numbered.negatives] == ["c", "d", "e"] and numbered.fields == {"note": 1}
    assert refused("contrast", {"anchor": "a", "positive": []}).code == "data.value_missing"
    error = refused("contrast", {"anchor": "a", "positive": "b", "score": "near"}, columns={"similarity": "score"})
    assert error.code == "data.type_wrong"


def test_solutions_are_judged_answers() -> None:
    flat = read("solutions", {"question": "q", "solution": "s", "is_correct": "False"})
    assert (flat.kind, flat.label, turns(flat)) == ("feedback", False, [("user", "q"), ("assistant", "s")])
    row: dict[str, Any] = {"question": "q", "small": {"solution": "s", "is_correct": True}}
    assert read("solutions", row, columns={"response": "small"}).label is True
    row["small"]["is_correct"] = "maybe"
    assert refused("solutions", row, columns={"response": "small"}).code == "data.type_wrong"


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("text", {"text": "a"}),
        ("labelled", {"text": "<image>", "label": "b"}),
        ("contrast", {"anchor": "<image>", "positive": "b"}),
        ("classification", {"text": "<image>", "label": "b"}),
        ("solutions", {"question": "<image>", "solution": "b", "is_correct": True}),
        ("alpaca", {"instruction": "<image>", "output": "b"}),
    ],
)
@pytest.mark.parametrize("column", ["images", "image"])
def test_no_format_drops_media(name: str, row: dict[str, Any], column: str) -> None:
    assert read(name, {**row, column: "1.png"}).media == ({"type": "image", "source": "1.png"},)
