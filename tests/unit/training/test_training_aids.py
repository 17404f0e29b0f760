# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Aids in a run: what they change, what they leave equal, and that a killed run resumes to the same bytes."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import MixtralConfig, MixtralForCausalLM

from tests.unit.training.batches import make_store
from tests.unit.training.runs import TinyRun, tiny_model
from tests.unit.training.test_trainer import Kill, flat_weights, losses
from tunesmith.models.aids import TrainingAids
from tunesmith.models.neftune import Neftune
from tunesmith.models.router_balance import RouterBalance
from tunesmith.models.tuners.lora import LoraParams, LoraTuner
from tunesmith.training.checkpoints import list_checkpoints

SAVING = {"save_strategy": "steps", "save_steps": 3}


def noisy_run(folder: Path, *callbacks: Any, alpha: float | None = 5.0) -> Any:
    model = tiny_model()
    if alpha:
        Neftune(model, alpha=alpha)
    return TinyRun(folder=folder, model=model, callbacks=list(callbacks), keys=SAVING).trainer()


def test_noise_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    straight, without = noisy_run(tmp_path / "straight"), noisy_run(tmp_path / "without", alpha=None)
    straight.train()
    without.train()
    with pytest.raises(KeyboardInterrupt):
        noisy_run(tmp_path / "killed", Kill(5)).train()
    resumed = noisy_run(tmp_path / "killed")
    resumed.train(resume_from_checkpoint=str(list_checkpoints(tmp_path / "killed")[-1][1]))
    assert torch.equal(flat_weights(straight), flat_weights(resumed))
    assert not torch.equal(flat_weights(straight), flat_weights(without))


class Kept:
    """Counts the bytes that autograd keeps, weights aside."""

    def __init__(self, model: nn.Module) -> None:
        self._weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
        self.num_bytes = 0

    def _pack(self, tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in self._weights:
            self.num_bytes += tensor.numel() * tensor.element_size()
        return tensor

    def context(self) -> Any:
        return torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)


@pytest.mark.parametrize("uses_lora", [False, True])
@pytest.mark.parametrize("is_reentrant", [False, True])
def test_checkpointing_keeps_less_and_changes_nothing(tmp_path: Path, uses_lora: bool, is_reentrant: bool) -> None:
    """The layout of packed rows reaches the layers when they are computed again."""
    found = []
    for checkpoints in (False, True):
        run: dict[str, Any] = {}
        if uses_lora:
            tuner = LoraTuner(LoraParams.model_validate({"lora_rank": 4, "lora_dropout": 0.1}))
            run = {"tuner": tuner, "model": tuner.attach(tiny_model())}
        keys = {
            "gradient_checkpointing": checkpoints,
            "gradient_checkpointing_kwargs": {"use_reentrant": is_reentrant},
            "max_steps": 3,
        }
        trainer = TinyRun(folder=tmp_path, keys=keys, pack_tokens=64, **run).trainer()
        kept, plain = Kept(trainer.module), trainer.compute_loss_context_manager

        def counted(kept: Kept = kept, plain: Any = plain) -> ExitStack:
            stack: ExitStack = plain()
            stack.enter_context(kept.context())
            return stack

        trainer.compute_loss_context_manager = counted  # type: ignore[method-assign]
        trainer.train()
        found.append((losses(trainer), flat_weights(trainer), kept.num_bytes))
    (plain_losses, plain_weights, plain_bytes), (new_losses, new_weights, new_bytes) = found
    assert new_losses == plain_losses and torch.equal(plain_weights, new_weights)
    assert new_bytes < 0.5 * plain_bytes


def mixture_run(folder: Path, coefficient: float, *, accumulation: int) -> Any:
    torch.manual_seed(0)
    model = MixtralForCausalLM(
        MixtralConfig(
            vocab_size=100,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            num_local_experts=4,
        )
    )
    aids = TrainingAids(balance=RouterBalance(model, coefficient=coefficient) if coefficient else None)
    keys = {
        "max_steps": 20,
        "per_device_train_batch_size": 8 // accumulation,
        "gradient_accumulation_steps": accumulation,
    }
    return TinyRun(folder=folder, model=model, aids=aids, layout="padded", keys=keys).trainer()


@torch.no_grad()
def imbalance(trainer: Any) -> float:
    ids = torch.arange(100)[None]
    return float(trainer.module.eval()(input_ids=ids, output_router_logits=True).aux_loss)


@pytest.mark.parametrize("accumulation", [1, 4])
def test_balance_spreads_the_tokens_over_the_experts(tmp_path: Path, accumulation: int) -> None:
    results = []
    for coefficient in (0.0, 1.0):
        trainer = mixture_run(tmp_path, coefficient, accumulation=accumulation)
        trainer.train()
        results.append(imbalance(trainer))
    assert results[1] < results[0] and results[1] < 2.05


def greedy_run(folder: Path, *callbacks: Any) -> Any:
    keys = {
        **SAVING,
        "lr_scheduler_type": "greedy",
        "lr_scheduler_kwargs": {"patience": 1, "factor": 0.5, "smooth": True},
        "eval_strategy": "steps",
        "eval_steps": 1,
    }
    evals = {"held": make_store((9, 14, 6))}
    return TinyRun(folder=folder, evals=evals, callbacks=list(callbacks), keys=keys).trainer()


def test_a_greedy_schedule_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    straight = greedy_run(tmp_path / "straight")
    straight.train()
    with pytest.raises(KeyboardInterrupt):
        greedy_run(tmp_path / "killed", Kill(8)).train()
    resumed = greedy_run(tmp_path / "killed")
    resumed.train(resume_from_checkpoint=str(list_checkpoints(tmp_path / "killed")[-1][1]))
    assert torch.equal(flat_weights(straight), flat_weights(resumed))
    rates = {entry["learning_rate"] for entry in straight.state.log_history if "learning_rate" in entry}
    assert len(rates) > 1, "the schedule changed the rate"
