# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Labels of feedback: truth values and 0 or 1 are read in silence, texts with one note, all else is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from tunesmith.data.examples import read_set
from tunesmith.data.opening import open_set
from tunesmith.data.sets import find_sets


def write(folder: Path, labels: list[Any]) -> str:
    rows = [{"instruction": f"q{n}", "output": f"a{n}", "kto_tag": label} for n, label in enumerate(labels)]
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("labels", "is_noted"),
    [
        ([True, False], False),
        ([1, 0], False),
        (["true", "false"], True),
        (["True", "FALSE"], True),
        ([True, "false"], True),
    ],
)
def test_labels_are_read_by_type(labels: list[Any], is_noted: bool, tmp_path: Path) -> None:
    (found,) = find_sets([write(tmp_path, labels)], "data", key="dataset")
    examples = read_set(found, kind="feedback", seed=0).examples
    assert [example.label for example in examples] == [True, False]
    note = open_set(found, kind="feedback", seed=0).note
    assert (note is not None) is is_noted
    if note is not None:
        assert "'kto_tag' are texts" in note and "read as true and false" in note


@pytest.mark.parametrize("label", ["yes", "no", 2, -1, 0.5, [True]])
def test_no_other_label_is_taken_for_true_or_false(label: Any, tmp_path: Path) -> None:
    (found,) = find_sets([write(tmp_path, [True, label])], "data", key="dataset")
    read = read_set(found, kind="feedback", seed=0)
    assert [example.label for example in read.examples] == [True]
    (bad,) = read.bad_rows
    assert bad.code == "data.type_wrong" and bad.source.row == 1
