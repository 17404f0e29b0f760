# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A run over a stream trains, evaluates, is killed and resumed to the same bytes, and counts every row it read."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DatasetWriter

STEPS, KILLS = 10, 2


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def write_sets(writer: DatasetWriter) -> None:
    """Write sums of several lengths in one set, and products in another."""
    sums = [{"instruction": f"What is {n} plus {n}?", "input": "", "output": "It is " * (n % 7) + f"{2 * n}."}
            for n in range(60)]  # fmt: skip
    writer.write("sums", sums)
    writer.write("products", [{"instruction": f"What is {n} times 2?", "output": f"{2 * n}."} for n in range(25)])


def keys_of(model: Path, writer: DatasetWriter) -> dict[str, Any]:
    return {
        "model_name_or_path": str(model),
        "dataset": "sums,products",
        "dataset_dir": str(writer.folder),
        "finetuning_type": "lora",
        "lora_dropout": 0.2,
        "use_cpu": True,
        "streaming": True,
        "buffer_size": 16,
        "mix_strategy": "interleave_once",
        "interleave_probs": "0.7,0.3",
        "val_size": 6,
        "eval_strategy": "steps",
        "eval_steps": 4,
        "packing": True,
        "cutoff_len": 128,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "max_steps": STEPS,
        "learning_rate": 1e-3,
        "logging_steps": 2,
        "save_steps": 1,
        "save_total_limit": 2,
    }


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the driver forks, which this system cannot")
def test_kills_change_nothing(tiny_llama_folder: Path, dataset_writer: DatasetWriter, tmp_path: Path) -> None:
    write_sets(dataset_writer)
    plan = tmp_path / "plan.json"
    keys = keys_of(tiny_llama_folder, dataset_writer)
    plan.write_text(
        json.dumps({"folder": str(tmp_path), "keys": keys, "kills": KILLS, "steps": STEPS, "seed": 3}),
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
    straight, killed = read(tmp_path / "straight.json"), read(tmp_path / "killed.json")
    weights = [(tmp_path / run / "adapter_model.safetensors").read_bytes() for run in ("straight", "killed")]
    assert weights[0] == weights[1]
    for name in ("steps", "samples", "tokens", "supervised_tokens", "rows"):
        assert killed[name] == straight[name], name
    assert killed["eval"]["eval_loss"] == straight["eval"]["eval_loss"]
    assert straight["steps"] == STEPS
    (evaluation,) = [one for one in straight["rows"]["datasets"] if (one["split"], one["dataset"]) == ("eval", "sums")]
    assert evaluation["rows_kept"] > 0
    held_out = [one for one in straight["rows"]["reasons"] if one["reason"] == "held_out"]
    assert sum(one["count"] for one in held_out) >= 6, "evaluation rows are left out of training, and counted"
