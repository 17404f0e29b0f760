# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A run killed with SIGKILL at ten random moments, also while saving, ends as if nothing had happened."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

KILLS = 10
EPOCHS, STEPS, ROWS = 6, 36, 144


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the driver forks, which this system cannot")
def test_ten_kills_change_nothing(tiny_llama_folder: Path, tiny_dataset: Path, tmp_path: Path) -> None:
    keys = {
        "model_name_or_path": str(tiny_llama_folder),
        "dataset": "tiny",
        "dataset_dir": str(tiny_dataset),
        "finetuning_type": "lora",
        "lora_dropout": 0.2,
        "bf16": True,
        "use_cpu": True,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "num_train_epochs": EPOCHS,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 3,
        "logging_steps": 4,
        "save_steps": 1,
        "save_total_limit": 2,
    }
    plan = tmp_path / "plan.json"
    plan.write_text(
        json.dumps({"folder": str(tmp_path), "keys": keys, "kills": KILLS, "steps": STEPS, "seed": 11}),
        encoding="utf-8",
    )
    driver = Path(__file__).with_name("kill_driver.py")
    done = subprocess.run(
        [sys.executable, str(driver), str(plan), str(tmp_path / "report.json")],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = read(tmp_path / "report.json")
    assert report["code"] == 0, (tmp_path / "killed.log").read_text(encoding="utf-8")[-3000:]
    assert len(report["kills"]) == KILLS, report
    for name in ("adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "chat_template.jinja"):
        assert (tmp_path / "straight" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes(), name
    straight, killed = read(tmp_path / "straight.json"), read(tmp_path / "killed.json")
    for name in ("steps", "samples", "tokens", "supervised_tokens", "epochs"):
        assert killed[name] == straight[name], name
    assert (killed["steps"], killed["samples"]) == (STEPS, ROWS)
    assert killed["train_loss"] == pytest.approx(straight["train_loss"], abs=1e-6)
    assert killed["samples_per_second"] == pytest.approx(killed["samples"] / killed["seconds"], rel=1e-3)
    logs = [(tmp_path / run / "trainer_log.jsonl").read_text(encoding="utf-8") for run in ("straight", "killed")]
    losses = [[json.loads(line)["loss"] for line in log.splitlines()] for log in logs]
    assert losses[0] == pytest.approx(losses[1], abs=1e-9)
    left = sorted(path.name for path in (tmp_path / "killed").iterdir())
    assert [name for name in left if "checkpoint" in name] == [f"checkpoint-{STEPS - 1}", f"checkpoint-{STEPS}"]
    assert not [name for name in left if name.startswith(".")], "kills leave nothing behind"
