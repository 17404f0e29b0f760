# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""LLaMA-Factory's example files for reward models, DPO and KTO run with only the model and the data set changed."""

import json
from pathlib import Path
from typing import Any

import pytest

from tunesmith.config.load import load_config
from tunesmith.jobs import train

# Its name for a set, our copy of the set, and the columns of its own dataset_info.json.
SETS = {
    "dpo_en_demo": ("dpo_en.json", {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}),
    "kto_en_demo": ("kto_en.json", {"messages": "messages", "kto_tag": "label"}),
}
NUM_ROWS = 8


@pytest.fixture
def dataset_dir(assets: Path, tmp_path: Path) -> Path:
    """Write the shortest rows of both sets, described as LLaMA-Factory describes them."""
    known = json.loads((assets / "configs" / "llamafactory" / "data" / "dataset_info.json").read_text(encoding="utf-8"))
    folder = tmp_path / "data"
    folder.mkdir()
    info = {}
    for name, (file, columns) in SETS.items():
        rows = json.loads((assets / "datasets" / "preference" / file).read_text(encoding="utf-8"))
        rows.sort(key=lambda row: len(json.dumps(row)))
        if name.startswith("kto"):
            rows = [row for label in (True, False) for row in [row for row in rows if row["label"] is label][:4]]
        (folder / f"{name}.json").write_text(json.dumps(rows[:NUM_ROWS]), encoding="utf-8")
        assert known[name]["columns"] == columns
        info[name] = {**known[name], "file_name": f"{name}.json"}
    (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reward", "dpo", "kto"])
def test_an_example_file_of_llamafactory_runs(
    name: str, assets: Path, dataset_dir: Path, tiny_llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = assets / "configs" / "llamafactory" / "train_lora" / f"qwen3_lora_{name}.yaml"
    changes = [f"model_name_or_path={tiny_llama_folder}", f"dataset_dir={dataset_dir}"]
    config = load_config(file, command="train", overrides=changes)
    result: dict[str, Any] = train.run(config)
    assert result["steps"] == 3 and result["samples"] == 3 * NUM_ROWS
    assert (tmp_path / "saves" / "qwen3-4b" / "lora" / name / "adapter_model.safetensors").is_file()
    if name != "reward":
        start = result["reference"]["step_0"]
        assert start["loss"] == pytest.approx({"dpo": 0.6931, "kto": 0.5}[name], abs=2e-3)
        assert result["reference"]["is_scored_once"]  # three passes
