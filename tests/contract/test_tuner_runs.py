# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The contract of every registered tuner in training: packed rows equal padded ones, a killed run resumes exactly."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.contract.test_forest import ROWS, loss_and_gradients
from tests.unit.models.tiny_models import tiny_model
from tests.unit.models.tiny_tuners import NAMES, build
from tests.unit.training import runs
from tests.unit.training.test_trainer import Kill, flat_weights
from tunesmith.models.anatomy import base_model
from tunesmith.models.attention.packing import self_test
from tunesmith.models.tuners.base import trained_parameters
from tunesmith.training.checkpoints import list_checkpoints
from tunesmith.training.trainer import TunesmithTrainer


def shaken(name: str, *, scale: float = 0.05, **changes: Any) -> Any:
    """Attach a tuner to a tiny Llama and move its weights away from their start."""
    model: Any = build(name).attach(tiny_model("llama", num_hidden_layers=2, **changes))
    with torch.no_grad():
        for number, (_, weight) in enumerate(trained_parameters(model)):
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(number)) * scale)
    return model


@pytest.mark.parametrize("name", NAMES)
def test_packed_rows_and_trees_equal_padded_rows(name: str) -> None:
    """Loss and every gradient agree, and so they do when the layers are computed a second time in the backward pass."""
    results = []
    for layout, is_recomputed in (("packed", False), ("padded", False), ("packed", True)):
        model = shaken(name)
        if is_recomputed:
            base_model(model).gradient_checkpointing_enable({"use_reentrant": False})
        results.append(loss_and_gradients(model, ROWS["mixed"], layout))  # type: ignore[arg-type]
    assert self_test(model).is_equal
    assert any(bool(gradient.abs().max() > 1e-6) for gradient in results[0][1].values())
    for other in results[1:]:
        assert (results[0][0] - other[0]).abs() < 1e-5 and results[0][1].keys() == other[1].keys()
        for weight, gradient in other[1].items():
            allowed = 2e-5 * max(1.0, float(gradient.abs().max()))
            assert (results[0][1][weight] - gradient).abs().max() < allowed, weight


def run_of(name: str, folder: Path, *callbacks: Any) -> TunesmithTrainer:
    tuner = build(name)
    keys = {"save_strategy": "steps", "save_steps": 3, "num_train_epochs": 1, "learning_rate": 5e-3}
    model = tuner.attach(runs.tiny_model())
    return runs.TinyRun(folder=folder, keys=keys, tuner=tuner, model=model, callbacks=callbacks).trainer()


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_run_resumes_to_the_same_bytes(name: str, tmp_path: Path) -> None:
    """Weights, the optimizer's state, and what the tuner itself gathers on the way."""
    straight = run_of(name, tmp_path / "straight")
    before = flat_weights(straight).clone()
    straight.train()
    assert straight.state.global_step == 6 and not torch.equal(before, flat_weights(straight))
    with pytest.raises(KeyboardInterrupt):
        run_of(name, tmp_path / "killed", Kill(5)).train()
    resumed = run_of(name, tmp_path / "killed")
    resumed.train(resume_from_checkpoint=str(list_checkpoints(tmp_path / "killed")[-1][1]))
    assert torch.equal(flat_weights(straight), flat_weights(resumed))
