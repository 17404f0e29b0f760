# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Conversion of written values to a key's type, choices and bounds, from the index alone."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.config.index import load_index
from tunesmith.config.values import InvalidValueError, read_value


@pytest.mark.parametrize(
    ("key", "value", "text", "expected"),
    [
        ("learning_rate", "1e-4", None, 1e-4),
        ("learning_rate", 1, None, 1),
        ("lora_rank", "16", None, 16),
        ("lora_rank", 16.0, None, 16),
        ("bf16", "true", None, True),
        ("bf16", "no", None, False),
        ("bf16", 1, None, True),
        ("eval_strategy", False, "no", "no"),
        ("eval_strategy", False, None, "no"),
        ("dataset", "identity, alpaca_en_demo", None, ["identity", "alpaca_en_demo"]),
        ("dataset", ["a", "b"], None, ["a", "b"]),
        ("report_to", "none", None, ["none"]),
        ("report_to", ["wandb", "tensorboard"], None, ["wandb", "tensorboard"]),
        ("run_name", 7, "007", "007"),
        ("run_name", 7, None, "7"),
        ("resume_from_checkpoint", "true", None, True),
        ("resume_from_checkpoint", False, "false", False),
        ("resume_from_checkpoint", "out/checkpoint-5", None, "out/checkpoint-5"),
        ("lr_scheduler_kwargs", '{"min_lr": 1e-6}', None, {"min_lr": 1e-6}),
        ("dataset_dir", {"a": {}}, None, {"a": {}}),
        ("packing", None, None, None),
        ("lora_rank", None, None, 8),
        ("max_samples", "null", None, None),
        ("include_num_input_tokens_seen", "all", None, "all"),
        ("include_num_input_tokens_seen", True, "true", True),
        ("do_sample", "off", None, False),
    ],
)
def test_values_take_their_keys_type(key: str, value: Any, text: str | None, expected: Any) -> None:
    read = read_value(load_index().keys[key], value, text)
    assert read == expected
    assert type(read) is type(expected)


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("learning_rate", "fast", "config.value_invalid"),
        ("learning_rate", True, "config.value_invalid"),
        ("learning_rate", float("nan"), "config.value_invalid"),
        ("learning_rate", "inf", "config.value_invalid"),
        ("lora_rank", 1.5, "config.value_invalid"),
        ("lora_rank", [8], "config.value_invalid"),
        ("bf16", "maybe", "config.value_invalid"),
        ("output_dir", ["your checkpoint directory"], "config.value_invalid"),
        ("lr_scheduler_kwargs", "min_lr", "config.value_invalid"),
        ("dataset", {"a": 1}, "config.value_invalid"),
        ("dataset", ["a", None], "config.value_invalid"),
        ("learning_rate", 0, "config.value_out_of_range"),
        ("learning_rate", -1e-4, "config.value_out_of_range"),
        ("lora_dropout", 1, "config.value_out_of_range"),
        ("top_p", 1.5, "config.value_out_of_range"),
        ("lr_scheduler_type", "cosin", "config.value_unknown"),
        ("report_to", ["wandb", "wandb2"], "config.value_unknown"),
        ("stage", "SFT", "config.value_unknown"),
    ],
)
def test_other_values_are_refused(key: str, value: Any, code: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        read_value(load_index().keys[key], value)
    assert caught.value.code == code


def test_a_wrong_choice_suggests_the_nearest() -> None:
    with pytest.raises(InvalidValueError) as caught:
        read_value(load_index().keys["lr_scheduler_type"], "cosin")
    assert "Did you mean 'cosine'?" in caught.value.remedy


@given(st.floats(min_value=1e-12, max_value=1e3))
def test_numbers_survive_being_written_as_text(number: float) -> None:
    assert read_value(load_index().keys["learning_rate"], repr(number)) == number


@given(st.lists(st.text(alphabet="abc_./-", min_size=1), min_size=1))
def test_lists_survive_being_written_with_commas(names: list[str]) -> None:
    assert read_value(load_index().keys["dataset"], ", ".join(names)) == names
