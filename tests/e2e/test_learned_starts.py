# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Adapters that begin from rows of the run, with every kind of loss, base and data; choices are in the record."""

import json
from pathlib import Path
from typing import Any

import pytest

from tunesmith.config.load import load_config
from tunesmith.jobs import train
from tunesmith.jobs.learned_start import spread

Keys = dict[str, Any]
pytestmark = pytest.mark.slow

RUNS: dict[str, Keys] = {
    "pairs with a reference": {"stage": "dpo", "dataset": "preference", "init_lora_weights": "lora_ga"},
    "a reward model": {"stage": "rm", "dataset": "preference", "init_lora_weights": "lora_ga"},
    "a stream": {"streaming": True, "init_lora_weights": "eva"},
    "short formats": {"pure_bf16": True, "init_lora_weights": "corda"},
    "4 bits": {"bf16": True, "quantization_bit": 4, "init_lora_weights": "lora_ga"},
    "new tokens": {"add_tokens": "<<here>>", "init_lora_weights": "eva"},
}


@pytest.fixture
def keys(tiny_llama_folder: Path, repository: Path, tmp_path: Path) -> Keys:
    return {
        "model_name_or_path": str(tiny_llama_folder),
        "dataset": "orders_train",
        "dataset_dir": str(repository / "data"),
        "output_dir": str(tmp_path / "run"),
        "use_cpu": True,
        "per_device_train_batch_size": 4,
        "max_steps": 1,
        "learning_rate": 1e-4,
        "lora_rank": 4,
        "start_rows": 8,
        "max_samples": 8,
    }


@pytest.mark.parametrize("case", RUNS)
def test_runs_begin_from_rows(case: str, keys: Keys, capsys: pytest.CaptureFixture[str]) -> None:
    if "quantization_bit" in RUNS[case]:
        pytest.importorskip("bitsandbytes")
    if RUNS[case].get("streaming"):
        del keys["max_samples"]
    result = train.run(load_config({**keys, **RUNS[case]}, command="train"))
    told = capsys.readouterr().err
    assert "The adapter begins from 8 of " in told and result["steps"] >= 1
    is_eva = RUNS[case]["init_lora_weights"] == "eva"
    assert ("start_ranks" in result["choices"]) == is_eva
    config = json.loads((Path(keys["output_dir"]) / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["r"] == (4 if is_eva else 8) and config["init_lora_weights"] is True
    if is_eva:
        assert sum(result["choices"]["start_ranks"]) == 4 * 14 and len(config["rank_pattern"]) == 14
    if RUNS[case].get("stage") == "dpo":
        assert result["reference"]["step_0"]["loss"] == pytest.approx(0.6931, abs=1e-4)


def test_rows_are_spread_evenly() -> None:
    assert spread(10, 4) == [0, 2, 5, 7] and spread(3, 8) == [0, 1, 2] and spread(8, 8) == list(range(8))
