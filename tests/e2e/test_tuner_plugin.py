# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Adding a tuner is one file: a plug-in brings one with its keys; the command line trains, resumes and merges it."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from tests.conftest import RunCommand

PLUGIN = '''
"""A tuner of one file: a trained scale on what every linear layer gives out."""

from peft import IA3Config
from pydantic import Field

from tunesmith.config.section import Section
from tunesmith.models.adapter_tuner import LayerTuner
from tunesmith.models.tuners.base import tuners


class Params(Section):
    section = "output_scale"
    selected_by = {"finetuning_type": ("output_scale",)}
    output_scale_target: tuple[str, ...] = Field(("all",), description="Layers to scale.")


@tuners.register("output_scale")
class OutputScale(LayerTuner):
    Params = Params
    config_type = IA3Config
    saved_as = {"output_scale_target": "target_modules"}
    fixed = {"feedforward_modules": []}
'''


@pytest.mark.slow
def test_a_plugin_brings_a_tuner(
    tunesmith_command: RunCommand, tiny_llama_folder: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    (tmp_path / "output_scale.py").write_text(PLUGIN, encoding="utf-8")
    words = (f"model_name_or_path={tiny_llama_folder}", "plugins=output_scale", "finetuning_type=output_scale")
    run = tmp_path / "run"
    rows = ("dataset=tiny", f"dataset_dir={tiny_dataset}", "use_cpu=true", "output_scale_target=q_proj,v_proj")
    done = tunesmith_command("train", "--json", *words, *rows, f"output_dir={run}", "max_steps=2", "learning_rate=0.1")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 2
    with safe_open(run / "adapter_model.safetensors", framework="pt") as file:
        names = list(file.keys())
    assert len(names) == 4 and all(".q_proj." in name or ".v_proj." in name for name in names)
    merged = tmp_path / "merged"
    done = tunesmith_command("export", "--json", *words, f"adapter_name_or_path={run}", f"export_dir={merged}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["merge_max_abs_diff"] < 1e-4
    assert (merged / "model.safetensors").is_file()
