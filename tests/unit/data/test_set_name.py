# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Names of data sets are taken apart as ms-swift's users write them; drives of Windows are no subsets."""

import pytest

from tunesmith.core.errors import TunesmithError
from tunesmith.data.set_name import SetName, read_set_name


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("orders", SetName(base="orders")),
        ("orders#500", SetName(base="orders", count=500)),
        ("data/a.jsonl#20", SetName(base="data/a.jsonl", count=20)),
        ("C:\\data\\a.jsonl", SetName(base="C:\\data\\a.jsonl")),
        ("C:\\data\\a.jsonl#20", SetName(base="C:\\data\\a.jsonl", count=20)),
        ("D:/data/set:en#20", SetName(base="D:/data/set", subset="en", count=20)),
        ("AI/gsm8k:main", SetName(base="AI/gsm8k", subset="main")),
        ("HF::openai/gsm8k:main/socratic#7", SetName(base="openai/gsm8k", hub="hf", subset="main/socratic", count=7)),
        ("ms::AI/x", SetName(base="AI/x", hub="ms")),
        ("a#b/c.json", SetName(base="a#b/c.json")),
    ],
)
def test_names_are_taken_apart(text: str, parts: SetName) -> None:
    assert read_set_name(text, key="dataset") == parts


@pytest.mark.parametrize("text", ["a#0", "a#-5", "a#many", "a#", "XX::a/b", "HF::", "a:", "#5"])
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(TunesmithError) as caught:
        read_set_name(text, key="eval_dataset")
    (problem,) = caught.value.problems
    assert problem.code == "data.set_name_invalid" and problem.where.key == "eval_dataset" and text in problem.message
