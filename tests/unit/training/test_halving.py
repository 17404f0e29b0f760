# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Out of memory in a step: the same losses and weights in smaller pieces, kept by checkpoints, told once each time."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.unit.training.runs import TinyRun
from tunesmith.core.report import clear_warnings, collected_warnings
from tunesmith.models.tuners.full import FullParams, FullTuner
from tunesmith.training.halving import can_begin_again, is_out_of_memory
from tunesmith.training.optimizers.lomo import build_lomo
from tunesmith.training.optimizers.named import NamedOptimizer
from tunesmith.training.trainer import TunesmithTrainer

ALLOCATION = "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"


class Shortage:
    """Fails like the allocator when a pass has more tokens than `limit`, from a pass on; in the backward if asked."""

    def __init__(self, trainer: TunesmithTrainer, *, limit: int, from_pass: int = 0, in_backward: bool = False) -> None:
        self.limit, self.from_pass, self.in_backward, self.num_passes = limit, from_pass, in_backward, 0
        trainer.module.get_submodule("model").register_forward_pre_hook(self.look, with_kwargs=True)
        layers: Any = trainer.module.get_submodule("model.layers")
        layers[0].mlp.down_proj.weight.register_hook(self.in_gradient)

    def look(self, module: Any, positional: Any, named: dict[str, Any]) -> None:
        self.size = int((named["input_ids"] if "input_ids" in named else positional[0]).numel())
        self.num_passes += 1
        if not self.in_backward:
            self.fail()

    def in_gradient(self, gradient: torch.Tensor) -> None:
        if self.in_backward:
            self.fail()

    def fail(self) -> None:
        if self.size > self.limit and self.num_passes > self.from_pass:
            raise RuntimeError(ALLOCATION)


def losses_of(trainer: TunesmithTrainer) -> list[float]:
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def run_of(folder: Path, **more: Any) -> TinyRun:
    keys = {"gradient_accumulation_steps": 2, "optim": "sgd", "learning_rate": 0.1, **more.pop("keys", {})}
    return TinyRun(folder=folder, keys=keys, **more)


@pytest.mark.parametrize("in_backward", [False, True])
@pytest.mark.parametrize("layout", ["packed", "padded"])
def test_a_shortage_changes_no_loss_and_no_count(tmp_path: Path, layout: Any, in_backward: bool) -> None:
    plain = run_of(tmp_path / "plain", layout=layout).trainer()
    short = run_of(tmp_path / "short", layout=layout).trainer()
    # The third pass belongs to the second step's first micro-batch; the fourth to its second, with gradients at hand.
    Shortage(short, limit=36, from_pass=3, in_backward=in_backward)
    clear_warnings()
    expected, found = losses_of(plain), losses_of(short)
    assert found == pytest.approx(expected, rel=1e-5)
    assert short.halving.pieces > 1
    assert short.totals().rows == plain.totals().rows
    assert short.totals().tokens == plain.totals().tokens
    told = [problem for problem in collected_warnings() if problem.code == "resources.batch_halved"]
    assert len(told) == len(short.halving.at_steps) and "DefaultCPUAllocator" in told[0].message
    for ours, theirs in zip(short.module.parameters(), plain.module.parameters(), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6)


class Pulled(FullTuner):
    """Pulls all weights towards zero."""

    def penalty(self, model: nn.Module) -> Tensor:
        """Give half the squared length."""
        return torch.stack([weight.pow(2).sum() for weight in model.parameters()]).sum() / 2


def test_a_tuners_penalty_is_added_once_a_step(tmp_path: Path) -> None:
    plain = run_of(tmp_path / "plain", tuner=Pulled(FullParams())).trainer()
    short = run_of(tmp_path / "short", tuner=Pulled(FullParams())).trainer()
    Shortage(short, limit=36, from_pass=3)
    plain.train()
    short.train()
    assert short.halving.pieces > 1
    for ours, theirs in zip(short.module.parameters(), plain.module.parameters(), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_an_optimizer_that_steps_in_the_backward_pass_begins_no_step_again(tmp_path: Path) -> None:
    optimizer = NamedOptimizer(build_lomo)
    assert not run_of(tmp_path, optimizer=optimizer).trainer().halving.is_allowed


def test_a_single_row_that_does_not_fit_ends_the_run(tmp_path: Path) -> None:
    trainer = run_of(tmp_path).trainer()
    Shortage(trainer, limit=4)
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        trainer.train()
    assert trainer.halving.pieces == 4


def test_other_errors_are_passed_on_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.unit.training.test_halving.ALLOCATION", "size mismatch")
    trainer = run_of(tmp_path).trainer()
    Shortage(trainer, limit=36)
    with pytest.raises(RuntimeError, match="size mismatch"):
        trainer.train()
    assert trainer.halving.pieces == 1


def test_a_resumed_run_goes_on_in_pieces(tmp_path: Path) -> None:
    keys = {"save_strategy": "steps", "save_steps": 2, "max_steps": 4}
    first = run_of(tmp_path, keys=keys).trainer()
    Shortage(first, limit=36)
    expected = losses_of(first)
    second = run_of(tmp_path, keys=keys).trainer()
    second.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert second.halving.to_json() == first.halving.to_json()
    found = [entry["loss"] for entry in second.state.log_history if "loss" in entry]
    assert found == expected
    for ours, theirs in zip(second.module.parameters(), first.module.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError(ALLOCATION), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_a_step_begins_again_only_where_nothing_else_saw_it() -> None:
    assert can_begin_again("adamw_torch_fused", world_size=1)
    assert not can_begin_again("adamw_torch_fused", world_size=2)
    assert not can_begin_again("lomo", world_size=1)
    assert not can_begin_again("adamw_torch", world_size=1, updates_early=True)
