# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What may and may not change between a checkpoint and the run that continues it."""

from dataclasses import replace
from typing import Any

import pytest

from tunesmith.config.index import load_index
from tunesmith.training.record import (
    RunRecord,
    changeable_keys,
    forbidding_differences,
    installed_versions,
    telling_differences,
)

RECORD = RunRecord(
    config={"learning_rate": 1e-4, "lora_target": ("q_proj", "v_proj"), "save_steps": 5.0},
    config_text="",
    fingerprints={"training data": "aaaa" * 16, "template": "bbbb" * 16},
    choices={"layout": "packed", "threads": 2},
    versions={"torch": "2.13.0"},
)


def test_the_same_run_has_no_differences() -> None:
    assert forbidding_differences(RECORD.to_json(), RECORD) == []
    assert telling_differences(RECORD.to_json(), RECORD) == []


@pytest.mark.parametrize(
    ("config", "lines"),
    [
        ({"learning_rate": 2e-4}, ["learning_rate: 0.0001 → 0.0002"]),
        ({"lora_target": ("q_proj",)}, ["lora_target: ['q_proj', 'v_proj'] → ['q_proj']"]),
        ({"save_steps": 50.0}, []),
        ({"a_key_of_a_newer_version": True}, []),
    ],
)
def test_changed_keys_are_shown(config: dict[str, Any], lines: list[str]) -> None:
    changed = replace(RECORD, config={**RECORD.config, **config})
    assert forbidding_differences(RECORD.to_json(), changed) == lines


def test_changed_data_forbids_and_a_changed_machine_is_told() -> None:
    changed = replace(
        RECORD,
        fingerprints={**RECORD.fingerprints, "training data": "cccc" * 16},
        choices={"layout": "packed", "threads": 8},
        versions={"torch": "2.14.0"},
    )
    assert forbidding_differences(RECORD.to_json(), changed) == ["the training data: 'aaaaaaaaaaaa' → 'cccccccccccc'"]
    assert telling_differences(RECORD.to_json(), changed) == ["threads: 2 → 8", "torch: '2.13.0' → '2.14.0'"]


def test_changeable_keys_are_keys() -> None:
    index = load_index()
    unknown = changeable_keys() - set(index.keys) - set(index.pending)
    assert not unknown


def test_keys_that_decide_the_numbers_cannot_change() -> None:
    deciding = {"stage", "seed", "learning_rate", "per_device_train_batch_size", "gradient_accumulation_steps", "bf16"}
    assert deciding.isdisjoint(changeable_keys()) and deciding <= set(load_index().keys)


def test_versions_name_what_decides_numbers() -> None:
    assert {"python", "tunesmith", "torch", "transformers", "peft"} <= set(installed_versions())
