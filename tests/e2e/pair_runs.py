# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Short runs on the bundled pairs, for the tests of preferences and of reward models."""

import json
from pathlib import Path
from typing import Any

from tunesmith.config.load import load_config
from tunesmith.jobs import train

Keys = dict[str, Any]


def pair_keys(stage: str, *, model: Path, repository: Path, output: Path) -> Keys:
    """Give the keys of a sound run of 6 steps on pairs, in float32 on the CPU."""
    return {
        "stage": stage,
        "model_name_or_path": str(model),
        "dataset": "preference",
        "dataset_dir": str(repository / "data"),
        "max_samples": 24,
        "output_dir": str(output),
        "finetuning_type": "lora",
        "use_cpu": True,
        "per_device_train_batch_size": 4,
        "num_train_epochs": 1,
        "learning_rate": 4e-3,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "save_steps": 3,
    }


def run(keys: Keys, **changes: Any) -> Keys:
    """Train in this process, and give the result as the command line writes it."""
    result: Keys = json.loads(json.dumps(train.run(load_config({**keys, **changes}, command="train")), allow_nan=False))
    return result
