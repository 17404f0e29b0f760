# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The life of an adapter on a tiny model: trained, resumed, trained on and exported, for each kind of adapter."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tunesmith.config.load import load_config
from tunesmith.jobs import export, train

Keys = dict[str, Any]


@pytest.fixture
def keys(tiny_llama_folder: Path, tiny_dataset: Path, tmp_path: Path) -> Keys:
    """Give the keys of a sound run of 6 steps on 24 rows, in float32 on the CPU."""
    return {
        "model_name_or_path": str(tiny_llama_folder),
        "dataset": "tiny",
        "dataset_dir": str(tiny_dataset),
        "output_dir": str(tmp_path / "run"),
        "use_cpu": True,
        "per_device_train_batch_size": 4,
        "num_train_epochs": 1,
        "learning_rate": 4e-4,
        "lr_scheduler_type": "constant",
        "save_steps": 2,
    }


def run(keys: Keys, **changes: Any) -> Keys:
    return train.run(load_config({**keys, **changes}, command="train"))


@pytest.mark.parametrize(
    "tuner",
    [
        {"finetuning_type": "oft", "oft_block_size": 8},
        {"finetuning_type": "lokr", "lokr_rank": 4},
        {"pissa_init": True, "loraplus_lr_ratio": 4.0, "lora_rank": 4},
        {"init_lora_weights": "eva", "lora_rank": 4, "start_rows": 16},
        {"init_weights": "lora-ga", "lora_rank": 4, "start_rows": 10},
    ],
)
def test_adapters_of_a_kind_are_resumed_trained_on_and_exported(tuner: Keys, keys: Keys, tmp_path: Path) -> None:
    straight = {**keys, **tuner, "num_train_epochs": 1}
    run(straight)
    run(straight, output_dir=str(tmp_path / "short"), max_steps=2)
    resumed = tmp_path / "short"
    run(straight, output_dir=str(resumed), resume_from_checkpoint=True)
    expected = load_file(tmp_path / "run" / "adapter_model.safetensors")
    found = load_file(resumed / "adapter_model.safetensors")
    assert all(torch.equal(found[name], value) for name, value in expected.items()) and found.keys() == expected.keys()
    kind = tuner.get("finetuning_type", "lora")
    again = run(
        keys, finetuning_type=kind, adapter_name_or_path=str(resumed), output_dir=str(tmp_path / "on"), max_steps=1
    )
    assert again["steps"] == 1
    shared = {"model_name_or_path": keys["model_name_or_path"], "finetuning_type": kind}
    exported = {**shared, "adapter_name_or_path": str(resumed), "export_dir": str(tmp_path / "merged")}
    assert export.run(load_config(exported, command="export"))["merge_max_abs_diff"] < 1e-4
