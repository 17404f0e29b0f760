# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Formats are recognised from columns, named formats are taken as named, and real files read by their natural one."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tunesmith.core.errors import Problem
from tunesmith.core.report import collected_warnings
from tunesmith.core.types import RowKind, RowRef
from tunesmith.data.examples import read_set
from tunesmith.data.formats.base import Row, formats
from tunesmith.data.recognition import Reading, choose_reading
from tunesmith.data.set_entry import check_entry, entry_source
from tunesmith.data.sets import DataSet, find_sets


def choose(*rows: Mapping[str, Any], **given: Any) -> Reading:
    reading = choose_reading(DataSet(name="d", files=(Path("d.json"),), **given), rows)
    assert isinstance(reading, Reading)
    return reading


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"instruction": "a", "output": "b"}, "alpaca"),
        ({"question": "a", "answer": "b"}, "alpaca"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "alpaca"),
        ({"conversations": [{"from": "human", "value": "a"}]}, "sharegpt"),
        ({"messages": [{"role": "user", "content": "a"}]}, "openai"),
        ({"conversations": [{"role": "user", "content": "a"}]}, "openai"),
        ({"text": "a", "url": "b"}, "text"),
        ({"query": "a", "response": "b"}, "swift"),
        ({"response": "a"}, "text"),
        ({"prompt": [{"role": "user", "content": "a"}], "answer": "b"}, "openai"),
        ({"messages": '[{"role": "user", "content": "a"}]'}, "openai"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "tool_call", "content": "{}"}]}, "swift"),
        ({"messages": [{"human": "a", "assistant": "b"}]}, "swift"),
        ({"messages": [{"role": "user", "content": "a"}], "rejected_response": "b"}, "swift"),
        ({"conversations": [{"from": "human", "value": "a"}], "chosen": {}, "rejected": {}}, "sharegpt"),
        ({"chosen": [{"role": "user", "content": "a"}], "rejected": [{"role": "user", "content": "a"}]}, "pair"),
        ({"chosen_messages": [], "rejected_messages": []}, "pair"),
        ({"text": "a", "label": "b"}, "classification"),
        ({"text": "标题", "label": "b"}, "classification_zh"),
        ({"text": "a", "category": "b, c", "output": "b"}, "classification"),
        ({"text": "南京", "entities": []}, "ner_zh"),
        ({"question": "a", "A": "b", "B": "c", "C": "d", "D": "e", "answer": "A"}, "exam"),
        ({"sentence1": "a", "sentence2": "b", "score": 1}, "contrast"),
        ({"query": "a", "positive": ["b"], "negative": ["c"]}, "contrast"),
        ({"instruction": "a", "context": "b", "response": "c", "category": "d"}, "alpaca"),
        ({"instruction": "a", "output": "b", "text": "c", "label": "d"}, "alpaca"),
    ],
)
def test_columns_tell_the_format(row: dict[str, Any], name: str) -> None:
    reading = choose(row)
    assert reading.format == name
    assert reading.decision is not None and reading.decision.startswith(f"read as {name}")


@pytest.mark.parametrize(
    ("row", "kind", "name", "key", "column"),
    [
        ({"text": "a", "label": "b"}, "supervised", "classification", "label", "label"),
        ({"text": "a", "label": "b"}, "labelled", "labelled", "label", "label"),
        ({"text": "a", "label": "b"}, "text", "text", "text", "text"),
        ({"text": "a", "entities": []}, "text", "text", "text", "text"),
        ({"instruction": "a", "output": "b", "label": True}, "feedback", "alpaca", "kto_tag", "label"),
        ({"instruction": "a", "output": "b", "label": True}, "supervised", "alpaca", "kto_tag", None),
        ({"messages": [{"role": "user", "content": "a"}], "label": 1}, "labelled", "openai", "label", "label"),
        ({"question": "a", "ground_truth": "b"}, "prompt", "alpaca", "reference_answer", "ground_truth"),
        ({"question": "a", "m": {"solution": "b", "is_correct": True}}, "feedback", "solutions", "response", "m"),
        ({"question": "a", "solution": "b", "is_correct": 1}, "feedback", "solutions", "response", "solution"),
        ({"query": "a", "response": "b", "label": 0.5}, "contrast", "contrast", "similarity", "label"),
        ({"prompt": "a", "output": "x", "chosen": "b", "rejected": "c"}, "preference", "alpaca", "response", None),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "text", "swift", "messages", "messages"),
    ],
)
def test_the_stage_decides_where_columns_allow_two_readings(
    row: dict[str, Any], kind: RowKind, name: str, key: str, column: str | None
) -> None:
    reading = choose_reading(DataSet(name="d", files=(Path("d.json"),)), [row], kind=kind)
    assert isinstance(reading, Reading)
    assert (reading.format, reading.columns.names[key]) == (name, column)


def test_a_named_format_still_looks_for_the_label_of_the_stage() -> None:
    rows = [{"instruction": "a", "output": "b", "label": "false"}]
    data_set = DataSet(name="d", files=(Path("d.json"),), formatting="alpaca")
    reading = choose_reading(data_set, rows, kind="feedback")
    assert isinstance(reading, Reading) and reading.columns.names["kto_tag"] == "label"
    assert reading.decision == "read as alpaca: kto_tag is column 'label'"
    given = DataSet(name="d", files=(Path("d.json"),), formatting="alpaca", columns={"kto_tag": None})
    reading = choose_reading(given, rows, kind="feedback")
    assert isinstance(reading, Reading) and reading.columns.names["kto_tag"] is None and reading.decision is None


def test_solutions_that_are_not_read_are_named() -> None:
    judged = {"solution": "b", "is_correct": True}
    reading = choose_reading(
        DataSet(name="d", files=(Path("d.json"),)), [{"question": "a", "m": judged, "n": judged}], kind="feedback"
    )
    assert isinstance(reading, Reading) and "not read: 'n'" in str(reading.decision)


def test_a_column_that_is_given_to_one_key_serves_no_other() -> None:
    row = {"input": "a", "target": "b", "completion": "c"}
    names = choose(row, columns={"prompt": "input", "response": "target"}).columns.names
    assert (names["prompt"], names["query"], names["response"]) == ("input", None, "target")
    named = choose(row, formatting="alpaca", columns={"prompt": "input"}).columns.names
    assert (named["query"], named["response"]) == (None, "output")
    alone = choose({"completion": "c"}, columns={"prompt": "completion"})
    assert read_alone(alone) == ("prompt", "c")


def read_alone(reading: Reading) -> tuple[str, str]:
    row = Row(source=RowRef(dataset="d", file="f", row=0), values={"completion": "c"})
    example = formats.get(reading.format)(row, reading.columns)
    assert example.conversation is not None
    return example.kind, example.conversation.messages[-1].content


def test_texts_described_as_prompts_have_no_answers() -> None:
    data_set = DataSet(name="d", files=(Path("d.json"),), columns={"prompt": "content"})
    reading = choose_reading(data_set, [{"content": "a", "output": "b"}], kind="text")
    assert isinstance(reading, Reading) and reading.columns.names["response"] is None


def test_all_of_llamafactorys_own_descriptions_are_read(assets: Path) -> None:
    path = assets / "configs/llamafactory/data/dataset_info.json"
    entries = json.loads(path.read_text(encoding="utf-8"))
    assert len(entries) == 104
    for name, entry in entries.items():
        check_entry(name, entry, path.as_posix())
        entry_source(entry, prefers_modelscope=False)
    assert not collected_warnings()


def test_a_prompt_that_is_named_rules_out_other_layouts() -> None:
    row = {"text": "a", "label": "b", "entities": [], "messages": []}
    assert choose(row, columns={"prompt": "text", "response": "label"}).format == "alpaca"


def test_names_and_role_words_are_recognised() -> None:
    assert choose({"question": "a", "answer": "b"}).columns.names["response"] == "answer"
    assert choose({"prompt": "a", "chosen": "b", "rejected": "c"}).columns.ranking
    turns = [{"from": "user", "value": "a"}, {"from": "assistant", "value": "b"}]
    tags = choose({"conversations": turns}).columns.tags
    assert (tags["user_tag"], tags["assistant_tag"], tags["system_tag"]) == ("user", "assistant", "system")


def test_what_is_given_is_kept() -> None:
    reading = choose({"text": "a", "output": "b"}, columns={"prompt": "text", "response": None})
    assert reading.format == "alpaca"
    assert (reading.columns.names["prompt"], reading.columns.names["response"]) == ("text", None)
    named = choose({"messages": []}, formatting="sharegpt", columns={"messages": "messages"}, tags={"user_tag": "u"})
    assert named.decision is None
    assert (named.columns.tags["user_tag"], named.columns.tags["assistant_tag"]) == ("u", "gpt")


def test_unknown_columns_are_refused_by_name() -> None:
    problem = choose_reading(DataSet(name="d", files=(Path("d.json"),)), [{"foo": 1, "bar": 2}])
    assert isinstance(problem, Problem)
    assert problem.code == "data.format_unrecognised" and "'foo', 'bar'" in problem.message


# Real files, the kind of rows they hold, and how many cannot be read and why.
REAL_FILES: list[tuple[str, RowKind, int, dict[str, int]]] = [
    ("sft/alpaca_en.json", "supervised", 599, {}),
    ("sft/alpaca_zh.json", "supervised", 600, {}),
    ("sft/identity.json", "supervised", 91, {}),
    ("sft/oasst_zh_history.json", "supervised", 200, {}),
    ("sft/v1_sft_demo.jsonl", "supervised", 200, {}),
    ("tools/glaive_toolcall_en.json", "supervised", 180, {}),
    ("tools/glaive_toolcall_zh.json", "supervised", 180, {}),
    ("tools/reason_tool_use.jsonl", "supervised", 30, {}),
    ("pretrain/c4_en.jsonl", "text", 180, {}),
    ("pretrain/wiki_en.txt", "text", 10, {}),
    ("reasoning/gsm8k_train.jsonl", "supervised", 1000, {}),
    ("reasoning/math_problems.jsonl", "supervised", 250, {}),
    ("preference/kto_en.json", "supervised", 180, {}),
    ("formats/alpaca.jsonl", "supervised", 3, {}),
    ("formats/alpaca.csv", "supervised", 3, {}),
    ("formats/alpaca2.csv", "supervised", 3, {}),
    ("formats/chatml.jsonl", "supervised", 3, {}),
    ("formats/conversations.jsonl", "supervised", 3, {}),
    ("formats/swift_single.csv", "supervised", 3, {}),
    ("formats/swift_single.jsonl", "supervised", 3, {}),
    ("formats/swift_multi.json", "supervised", 3, {}),
    ("formats/swift_multi.jsonl", "supervised", 3, {}),
    ("multimodal/image_chat.json", "supervised", 0, {"data.media_unsupported": 21}),
]


@pytest.mark.parametrize(("name", "kind", "num_examples", "faults"), REAL_FILES)
def test_real_files_are_read(assets: Path, name: str, kind: RowKind, num_examples: int, faults: dict[str, int]) -> None:
    (data_set,) = find_sets([str(assets / "datasets" / name)], "data", key="dataset")
    read = read_set(data_set, kind=kind, seed=0)
    assert not read.problems
    assert Counter(bad.code for bad in read.bad_rows) == Counter(faults)
    assert len(read.examples) == num_examples
