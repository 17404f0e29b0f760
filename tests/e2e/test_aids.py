# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Aids through the command line: numbers left to the program, noise and idle keys, and the resume that repeats them."""

import json
from pathlib import Path

import pytest

from tests.conftest import RunCommand


@pytest.mark.slow
def test_a_run_with_aids_chooses_says_and_resumes(
    tunesmith_command: RunCommand, tiny_llama_folder: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    words = [
        "train",
        "--json",
        f"model_name_or_path={tiny_llama_folder}",
        "dataset=tiny",
        f"dataset_dir={tiny_dataset}",
        f"output_dir={tmp_path / 'run'}",
        "use_cpu=true",
        "finetuning_type=lora",
        "lora_rank=auto",
        "learning_rate=auto",
        "neftune_noise_alpha=5",
        "enable_liger_kernel=true",
        "save_steps=1",
    ]
    done = tunesmith_command(*words, "max_steps=2")
    assert done.returncode == 0, done.stderr
    assert "lora_rank: 16 (auto)" in done.stderr and "(LoRA Without Regret, 2025)" in done.stderr
    result = json.loads(done.stdout)
    assert [entry["code"] for entry in result["warnings"]].count("check.aid_idle") == 1
    written = (tmp_path / "run" / "tunesmith.yaml").read_text(encoding="utf-8")
    assert "lora_rank: 16\n" in written and "lora_alpha: 32\n" in written
    adapter = json.loads((tmp_path / "run" / "adapter_config.json").read_text(encoding="utf-8"))
    assert (adapter["r"], adapter["lora_alpha"]) == (16, 32)
    again = tunesmith_command(*words, "max_steps=3", "resume_from_checkpoint=true")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["steps"] == 3


@pytest.mark.slow
def test_a_model_is_trained_from_scratch(
    tunesmith_command: RunCommand, tiny_llama_folder: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    losses = []
    for name, keys in (("a", ["lisa_activated_layers=1"]), ("b", ["optim=lomo", "print_param_status=true"])):
        done = tunesmith_command(
            "train",
            "--json",
            f"model_name_or_path={tiny_llama_folder}",
            "dataset=tiny",
            f"dataset_dir={tiny_dataset}",
            f"output_dir={tmp_path / name}",
            "use_cpu=true",
            "finetuning_type=full",
            "train_from_scratch=true",
            "pure_bf16=true",
            "max_steps=2",
            "logging_steps=1",
            *keys,
        )
        assert done.returncode == 0, done.stderr
        lines = (tmp_path / name / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()
        losses.append(json.loads(lines[0])["loss"])
    assert losses[0] == losses[1], "both begin with the same random weights"
    assert "model.embed_tokens.weight: bfloat16" in done.stderr
