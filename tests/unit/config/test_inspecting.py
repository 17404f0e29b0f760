# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What an inspection takes from a file: rows of any stage, and no refusal for settings of training."""

from typing import Any

import pytest

from tunesmith.config.load import load_config
from tunesmith.core.errors import TunesmithError

DATA = {"model_name_or_path": "model", "dataset": "rows.jsonl"}


def codes(**keys: Any) -> list[str]:
    with pytest.raises(TunesmithError) as caught:
        load_config(keys, command="inspect")
    return [problem.code for problem in caught.value.problems]


def test_rows_of_a_stage_without_a_loss_can_be_inspected() -> None:
    waiting = {"stage": "ppo", "ppo_target": 0.3, "deepspeed": "ds.json", "optim": "adamw_torch_xla", "save_steps": 7}
    config = load_config({**DATA, **waiting}, command="inspect")
    assert (config.run.stage, config.job, config.warnings) == ("ppo", "train", ())
    with pytest.raises(TunesmithError):
        load_config({**DATA, **waiting, "output_dir": "out"}, command="train")


def test_no_output_folder_and_no_dates_of_evaluation_are_asked_for() -> None:
    assert load_config({**DATA, "eval_strategy": "steps"}, command="inspect").run.output_dir is None


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"dataset": "rows.jsonl"}, ["config.key_missing"]),
        ({"model_name_or_path": "model"}, ["config.key_missing"]),
        ({**DATA, "val_size": 0.1, "eval_dataset": "other.jsonl"}, ["config.keys_conflict"]),
        ({**DATA, "stage": "dpoo"}, ["config.value_unknown"]),
        ({**DATA, "cutof_len": 5}, ["config.key_unknown"]),
        ({**DATA, "split_special_tokens": True}, ["config.key_pending"]),
    ],
)
def test_what_shapes_rows_is_refused_as_everywhere(keys: dict[str, Any], expected: list[str]) -> None:
    assert codes(**keys) == expected
