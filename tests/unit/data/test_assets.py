# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Every real file loads by its natural format, with all its rows and without hand-written columns."""

import json
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tunesmith.core.types import Example, RowKind, RowRef
from tunesmith.data.blocks import cut_blocks, read_block
from tunesmith.data.formats.base import Row, RowError, formats
from tunesmith.data.kinds import to_kind
from tunesmith.data.recognition import Reading, choose_reading
from tunesmith.data.sets import find_sets
from tunesmith.data.sources.base import Record, readers

# Pattern of files → the format recognised, and the kind of the examples. First match counts.
NATURAL: tuple[tuple[str, str, RowKind], ...] = (
    ("classification/labels.txt", "text", "text"),
    ("classification/*.jsonl", "classification_zh", "supervised"),
    ("embedding/*.jsonl", "contrast", "contrast"),
    ("exam/ceval/test/*.csv", "exam", "prompt"),  # Their answers are kept by the makers.
    ("exam/*.csv", "exam", "supervised"),
    ("formats/alpaca*", "alpaca", "supervised"),
    ("formats/chatml.jsonl", "openai", "supervised"),
    ("formats/conversations.jsonl", "sharegpt", "supervised"),
    ("formats/swift_pre.*", "text", "text"),
    ("formats/*", "swift", "supervised"),
    ("multimodal/*.json", "openai", "supervised"),
    ("ner/*.jsonl", "ner_zh", "supervised"),
    ("preference/dpo_*.json", "sharegpt", "preference"),
    ("preference/kto_en.json", "openai", "supervised"),
    ("preference/oasst_rm_zh.json", "alpaca", "preference"),
    ("preference/v1_dpo_demo.jsonl", "pair", "preference"),
    ("pretrain/*", "text", "text"),
    ("reasoning/*.jsonl", "alpaca", "supervised"),
    ("sft/v1_sft_demo.jsonl", "openai", "supervised"),
    ("sft/*.json", "alpaca", "supervised"),
    ("tools/glaive_*.json", "sharegpt", "supervised"),
    ("tools/reason_tool_use.jsonl", "openai", "supervised"),
)

# Files that another stage reads otherwise: the stage's kind, the format, and what of the first row shows it.
BY_STAGE: tuple[tuple[str, RowKind, str, object], ...] = (
    ("classification/thucnews_train.jsonl", "labelled", "labelled", "stocks"),
    ("classification/thucnews_train.jsonl", "text", "text", None),
    ("ner/ccfbdci_train.jsonl", "text", "text", None),
    ("preference/kto_en.json", "feedback", "openai", True),
    ("reasoning/gsm8k_model_solutions.jsonl", "feedback", "solutions", False),
    ("embedding/stsb_train.jsonl", "contrast", "contrast", 0.2),
    ("reasoning/gsm8k_train.jsonl", "prompt", "alpaca", None),
    ("reasoning/math_problems.jsonl", "contrast", "alpaca", None),
)


def load(path: Path, kind: RowKind | None = None) -> tuple[Reading, list[Example]]:
    """Read a whole file; any fault fails the test."""
    (data_set,) = find_sets([str(path)], "data", key="dataset")
    records = [entry for block in cut_blocks(data_set) for entry in read_block(block)]
    assert all(isinstance(record, Record) for record in records)
    rows = [record.values for record in records if isinstance(record, Record)]
    reading = choose_reading(data_set, rows[:50], kind=kind)
    assert isinstance(reading, Reading)
    examples = []
    for number, values in enumerate(rows):
        row = Row(source=RowRef(dataset="d", file=path.name, row=number), values=values)
        example = formats.get(reading.format)(row, reading.columns)
        examples.append(example if kind is None else to_kind(example, kind, row, reading))
    return reading, examples


def data_files(folder: Path) -> Iterator[str]:
    types = {f".{name}" for name in readers.names()}
    found = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.suffix in types)
    return (path.as_posix() for path in found if path.as_posix() != "index.json")


def test_every_file_loads_by_its_natural_format(assets: Path) -> None:
    folder = assets / "datasets"
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    num_rows = {entry["file"]: entry["rows"] for entry in index}
    names = list(data_files(folder))
    assert len(names) >= 87
    for name in names:
        expected = next(((form, kind) for pattern, form, kind in NATURAL if fnmatch(name, pattern)), None)
        assert expected is not None, f"{name} is new: name its natural format"
        reading, examples = load(folder / name)
        assert reading.format == expected[0], name
        assert reading.decision is not None and reading.decision.startswith(f"read as {expected[0]}: "), name
        rows = 3 if name.startswith("formats/") else num_rows[name]  # There the index counts lines.
        assert Counter(example.kind for example in examples) == {expected[1]: rows}, name


@pytest.mark.parametrize(("name", "kind", "form", "label"), BY_STAGE)
def test_the_stage_decides_between_two_readings(
    assets: Path, name: str, kind: RowKind, form: str, label: object
) -> None:
    reading, examples = load(assets / "datasets" / name, kind)
    assert reading.format == form
    assert {example.kind for example in examples} == {kind}
    assert examples[0].label == label


def test_answers_of_questions_become_references(assets: Path) -> None:
    _, examples = load(assets / "datasets/reasoning/gsm8k_train.jsonl", "prompt")
    assert str(examples[0].reference_answer).endswith("#### 72")
    assert examples[0].conversation is not None and len(examples[0].conversation.messages) == 1


def test_entities_of_all_rows_parse(assets: Path) -> None:
    _, examples = load(assets / "datasets/ner/ccfbdci_train.jsonl")
    labels: Counter[str] = Counter()
    for example in examples:
        assert example.conversation is not None
        labels.update(entity["entity_label"] for entity in json.loads(example.conversation.messages[-1].content))
    assert sorted(labels) == sorted(["人名", "地理实体", "组织", "地点"]) and min(labels.values()) > 300


@pytest.mark.parametrize(
    ("name", "media"), [("image_chat", {"image": 23}), ("audio_chat", {"audio": 4}), ("video_chat", {"video": 2})]
)
def test_media_are_read_in_order_and_refused_by_stages(assets: Path, name: str, media: dict[str, int]) -> None:
    path = assets / "datasets/multimodal" / f"{name}.json"
    reading, examples = load(path)
    assert Counter(medium["type"] for example in examples for medium in example.media) == media
    assert all((path.parent / medium["source"]).is_file() for example in examples for medium in example.media)
    row = Row(source=examples[0].source, values={})
    with pytest.raises(RowError) as caught:
        to_kind(examples[0], "supervised", row, reading)
    assert caught.value.code == "data.media_unsupported"
