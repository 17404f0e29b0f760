# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""QLoRA by the command line: train with evaluations, resume to the same bytes, chat, export and its verification."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RunCommand

pytestmark = pytest.mark.slow
ADAPTER = "adapter_model.safetensors"


def keys(folder: Path, data: Path, **changes: Any) -> list[str]:
    settings = {
        "model_name_or_path": folder,
        "dataset": "tiny",
        "dataset_dir": data,
        "finetuning_type": "lora",
        "quantization_bit": 4,
        "bf16": "true",
        "max_steps": 4,
        "eval_strategy": "steps",
        "eval_steps": 1,
        "save_steps": 2,
        "val_size": 4,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        **changes,
    }
    return [word for key, value in settings.items() for word in (f"--{key}", str(value))]


@pytest.mark.parametrize("tuner", ["lora", "oft"])
def test_qlora_from_training_to_export(
    tuner: str, tunesmith_command: RunCommand, tiny_llama_folder: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    output, exported = tmp_path / "out", tmp_path / "exported"
    words = keys(tiny_llama_folder, tiny_dataset, output_dir=output, finetuning_type=tuner)
    trained = tunesmith_command("train", *words, "--json")
    assert trained.returncode == 0, trained.stderr
    assert trained.json["choices"]["quantization"] == "4 bits by bnb (nf4, double quantisation)"
    record = json.loads((output / "tunesmith_base.json").read_text(encoding="utf-8"))
    assert record["quantization"]["dtype"] == "bfloat16"

    first = (output / ADAPTER).read_bytes()
    shutil.rmtree(output / "checkpoint-4")
    resumed = tunesmith_command("train", *words, "--resume_from_checkpoint", "true", "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert (output / ADAPTER).read_bytes() == first

    served = ["--model_name_or_path", tiny_llama_folder, "--adapter_name_or_path", output, "--finetuning_type", tuner]
    chat = tunesmith_command("chat", *served, "--max_new_tokens", "2", stdin="hello\nexit\n")
    assert chat.returncode == 0 and "quantised as in its training" in chat.stderr, chat.stderr

    export = tunesmith_command("export", *served, "--export_dir", exported, "--json")
    assert export.returncode == 0, export.stderr
    assert export.json["merged_into"] == "dequantised weights" and export.json["trained_max_abs_diff"] < 1e-4
    assert export.json["merge_top1_agreement"] >= 0.99 and export.json["merge_mean_kl"] <= 1e-3
    assert "quantization_config" not in json.loads((exported / "config.json").read_text(encoding="utf-8"))

    original = tunesmith_command(
        "export", *served, "--export_dir", tmp_path / "original", "--adapter_base", "original", "--json"
    )
    assert original.returncode == 0 and "not those that were trained on" in original.stderr, original.stderr
    assert original.json["merged_into"] == "original weights" and original.json["trained_max_abs_diff"] > 1e-3
