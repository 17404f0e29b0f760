# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Contradictions between the keys that mix, split and stream data sets are refused by name; sound settings are not."""

from typing import Any

import pytest

from tunesmith.config.load import load_config
from tunesmith.core.errors import TunesmithError

STREAM = {"streaming": True, "max_steps": 10}


def load(**keys: Any) -> None:
    load_config({"model_name_or_path": "m", "output_dir": "o", "dataset": "a, b", **keys}, command="train")


@pytest.mark.parametrize(
    ("keys", "code", "words"),
    [
        ({"interleave_probs": "0.5,0.5"}, "config.keys_conflict", "concat draws none"),
        ({"interleave_probs": "1", "mix_strategy": "interleave_over"}, "config.keys_conflict", "1 shares"),
        (
            {"interleave_probs": [1, 1], "mix_strategy": "interleave_once", "eval_dataset": "x,y,z"},
            "config.keys_conflict",
            "eval_dataset names 3",
        ),
        ({"val_split_by": "random"}, "config.keys_conflict", "val_size takes none"),
        ({"streaming": True}, "config.key_missing", "needs max_steps"),
        ({**STREAM, "stage": "kto"}, "config.keys_conflict", "the next row is not known"),
        ({**STREAM, "val_size": 0.1}, "config.value_out_of_range", "the share 0.1"),
        ({**STREAM, "max_samples": 5}, "config.keys_conflict", "max_samples"),
        ({**STREAM, "val_size": 4, "val_split_by": "random"}, "config.keys_conflict", "by its prompts"),
        ({**STREAM, "dataloader_drop_last": True}, "config.keys_conflict", "every row is used"),
        ({**STREAM, "save_strategy": "epoch"}, "config.keys_conflict", "counts steps only"),
        ({"streaming": True, "buffer_size": 0, "max_steps": 1}, "config.value_out_of_range", "buffer_size"),
        ({"mix_strategy": "interleave"}, "config.value_unknown", "mix_strategy"),
    ],
)
def test_contradictions_are_refused(keys: dict[str, Any], code: str, words: str) -> None:
    with pytest.raises(TunesmithError, match=words) as caught:
        load(**keys)
    assert [problem.code for problem in caught.value.problems] == [code]


@pytest.mark.parametrize(
    "keys",
    [
        {"mix_strategy": "interleave_under"},
        {"mix_strategy": "interleave_over", "interleave_probs": "0.3,0.7", "eval_dataset": "x"},
        {"mix_strategy": "interleave_over", "interleave_probs": [3, 7], "eval_dataset": "x,y,z",
         "eval_on_each_dataset": True},
        {**STREAM, "val_size": 100, "save_strategy": "steps"},
        {"val_size": 0.1, "val_split_by": "near_duplicates"},
    ],
)  # fmt: skip
def test_sound_settings_pass(keys: dict[str, Any]) -> None:
    load(**keys)
