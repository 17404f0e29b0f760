# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Everything that decides on a shard is in its name, and nothing else is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase

from tests.unit.data.preparation.words import open_texts, reading_of, write_texts
from tunesmith.data.encoders.base import EncodeRules
from tunesmith.data.preparation.keys import block_key, rules_key
from tunesmith.data.recognition import Reading
from tunesmith.templates.base import ChatTemplate, TrainPolicy
from tunesmith.templates.chat import load_template


@pytest.fixture
def rules(tokenizer: PreTrainedTokenizerBase, template: ChatTemplate) -> EncodeRules:
    return EncodeRules(
        tokenizer=tokenizer, template=template, policy=TrainPolicy(), cutoff_len=64, length_policy="drop"
    )


def test_every_rule_is_in_the_name(rules: EncodeRules, tokenizer: PreTrainedTokenizerBase, assets: Path) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"cutoff_len": 65},
        {"length_policy": "refuse"},
        {"policy": TrainPolicy(mask_history=True)},
        {"policy": TrainPolicy(default_system="Be brief.")},
        {"classes": ("a", "b")},
        {"template": None},
        {"template": load_template(tokenizer, name="llama3", folder=None)},
    ]
    keys = {rules_key(replace(rules, **change), "supervised") for change in changes}
    keys |= {rules_key(rules, "prompt"), rules_key(rules, "supervised", ("my_plugin",))}
    assert len(keys) == len(changes) + 2
    assert rules_key(rules, "supervised") == rules_key(replace(rules), "supervised")


def test_a_block_is_named_by_what_it_holds_and_how_it_is_read(tmp_path: Path) -> None:
    texts = [f"{number}" for number in range(30)]
    opened = open_texts(write_texts(tmp_path, texts))
    moved = open_texts(write_texts(tmp_path / "elsewhere", texts, "other.txt"))
    reading = reading_of(opened)
    keys = [block_key(block, reading, "r") for block in opened.blocks]
    assert keys == [block_key(block, reading_of(moved), "r") for block in moved.blocks]
    assert len(set(keys)) == 3
    block = opened.blocks[0]
    others: list[tuple[Any, Reading, str]] = [
        (block, reading, "other"),
        (replace(block, chosen=(0, 1)), reading, "r"),
        (replace(block, chosen=(0, 2)), reading, "r"),
        (block, replace(reading, format="alpaca"), "r"),
        (block, replace(reading, columns=replace(reading.columns, names={"text": "body"})), "r"),
    ]
    assert len({keys[0], *(block_key(*other) for other in others)}) == len(others) + 1
    assert block_key(block, replace(reading, decision="said otherwise"), "r") == keys[0]


def test_equal_rows_at_another_place_of_the_file_have_another_name(tmp_path: Path) -> None:
    """Messages about broken rows name lines, so they are not the same there."""
    opened = open_texts(write_texts(tmp_path, ["1"] * 20))
    first, second = opened.blocks
    assert first.span.digest == second.span.digest
    assert block_key(first, reading_of(opened), "r") != block_key(second, reading_of(opened), "r")
