# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Adding an optimizer is one file: a plug-in brings one with its keys, and the command line trains with it."""

import json
from pathlib import Path

import pytest

from tests.conftest import RunCommand

PLUGIN = '''
"""An optimizer of one file."""

import sys

import torch
from pydantic import Field

from tunesmith.config.section import Section
from tunesmith.models.tuners.base import trained_parameters
from tunesmith.training.optimizers.base import OptimizerPart, optimizers


class Switch(Section):
    section = "optimizers"
    use_heavy_ball: bool = Field(False, description="Gradient descent with momentum.")


class Params(Section):
    section = "optimizers"
    selected_by = {"use_heavy_ball": ("true",)}
    heavy_ball_momentum: float = Field(0.5, ge=0, lt=1, description="Momentum.")


@optimizers.register("use_heavy_ball")
class HeavyBall(OptimizerPart):
    Switch = Switch
    Params = Params

    def build(self, model, args):
        print(f"momentum {self.params.heavy_ball_momentum}", file=sys.stderr)
        weights = [weight for _, weight in trained_parameters(model)]
        return torch.optim.SGD(weights, lr=args.learning_rate, momentum=self.params.heavy_ball_momentum)
'''


@pytest.mark.slow
def test_a_plugin_brings_an_optimizer(
    tunesmith_command: RunCommand, tiny_llama_folder: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    (tmp_path / "heavy_ball.py").write_text(PLUGIN, encoding="utf-8")
    done = tunesmith_command(
        "train",
        "--json",
        f"model_name_or_path={tiny_llama_folder}",
        "dataset=tiny",
        f"dataset_dir={tiny_dataset}",
        f"output_dir={tmp_path / 'run'}",
        "use_cpu=true",
        "max_steps=2",
        "plugins=heavy_ball",
        "use_heavy_ball=true",
        "heavy_ball_momentum=0.25",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 2 and "momentum 0.25" in done.stderr
