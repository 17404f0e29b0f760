# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Reading without a template gives every sound row and one problem for each kind of fault."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import DatasetWriter
from tunesmith.config.run import RunConfig
from tunesmith.core.errors import Problem
from tunesmith.core.types import Example
from tunesmith.data.examples import read_examples, read_set
from tunesmith.data.sets import find_sets


def test_sound_rows_and_grouped_problems(configure: Callable[..., RunConfig], dataset_writer: DatasetWriter) -> None:
    roles = ["gpt", "gpt", "robot", "gpt", "robot"]
    rows = [{"conversations": [{"from": "human", "value": "a"}, {"from": role, "value": "b"}]} for role in roles]
    dataset_writer.write("chats", rows, formatting="sharegpt")
    dataset_writer.write("sound", rows[:1], formatting="sharegpt")
    config = configure(dataset="chats", eval_dataset="sound")
    found = list(read_examples(config, kind="supervised"))
    examples = [item for item in found if isinstance(item, Example)]
    problems = [item for item in found if isinstance(item, Problem)]
    assert [example.source.row for example in examples] == [0, 1, 3]
    (problem,) = problems
    assert (problem.code, problem.where.rows, problem.where.num_rows) == ("data.role_unknown", (2, 4), 2)
    assert "'robot'" in problem.message and "1 more" in problem.message
    assert [type(item) for item in read_examples(config, kind="supervised", part="eval")] == [Example]


def test_rows_of_a_folder_are_numbered_by_file(configure: Callable[..., RunConfig], tmp_path: Path) -> None:
    folder = tmp_path / "data" / "parts"
    folder.mkdir(parents=True)
    for name, text in (("b.txt", "three\n"), ("a.txt", "one\ntwo\n")):
        (folder / name).write_text(text, encoding="utf-8")
    found = list(read_examples(configure(dataset="parts", stage="pt"), kind="text"))
    assert [
        (item.text, Path(item.source.file).name, item.source.row) for item in found if isinstance(item, Example)
    ] == [
        ("one", "a.txt", 0),
        ("two", "a.txt", 1),
        ("three", "b.txt", 0),
    ]


def test_a_file_that_cannot_be_opened_is_a_problem(
    configure: Callable[..., RunConfig], dataset_writer: DatasetWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    dataset_writer.write("locked", [{"instruction": "a", "output": "b"}])
    config = configure(dataset="locked.jsonl")
    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr("tunesmith.data.sets.read_info", lambda _: {})
    (problem,) = [item for item in read_examples(config, kind="supervised") if isinstance(item, Problem)]
    assert problem.code == "data.file_unreadable" and "Permission denied" in problem.message


@pytest.mark.parametrize("formatting", [None, "alpaca"])
@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"{oops\n\n{oops\n", "data.json_malformed"),
        ('{"instruction": "é"}\n\n{"instruction": "é"}\n'.encode("latin-1"), "data.encoding_wrong"),
    ],
)
def test_rows_none_of_which_can_be_read_are_named(
    content: bytes,
    code: str,
    formatting: str | None,
    configure: Callable[..., RunConfig],
    dataset_writer: DatasetWriter,
) -> None:
    dataset_writer.write("bad", [], formatting=formatting, columns={"system": "persona"}).write_bytes(content)
    found = list(read_examples(configure(dataset="bad"), kind="supervised"))
    (problem,) = [item for item in found if isinstance(item, Problem)]
    assert len(found) == 1 and (problem.code, problem.where.rows, problem.where.line) == (code, (0, 1), 1)


def test_texts_described_as_prompts_are_announced_as_texts(dataset_writer: DatasetWriter) -> None:
    rows = [{"text": "a", "url": "b"}, {"text": "c", "url": "d"}]
    dataset_writer.write("c4", rows, columns={"prompt": "text"})
    (data_set,) = find_sets(["c4"], str(dataset_writer.folder), key="dataset")
    assert read_set(data_set, kind="text", seed=0).decision == "read as text: column 'text'"
    assert str(read_set(data_set, kind="supervised", seed=0).decision).startswith("read as alpaca")
