# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The trainer on a tiny model: exact accumulation, true totals, resume to the same bytes, guard, evaluation, limits."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tests.unit.training.batches import make_store
from tests.unit.training.runs import LENGTHS, TinyRun, tiny_model
from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import LayoutKind
from tunesmith.training.callbacks.flow import EarlyStopping, StopWhenInterrupted
from tunesmith.training.checkpoints import find_fault, list_checkpoints, read_manifest
from tunesmith.training.interrupt import InterruptFlag
from tunesmith.training.trainer import TunesmithTrainer


class FirstGradient(TrainerCallback):
    """Keeps the gradient of the first step."""

    def __init__(self) -> None:
        self.gradient = torch.zeros(0)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Copy all gradients of the first step."""
        if state.global_step == 0:
            grads = [weight.grad.flatten() for weight in kwargs["model"].parameters() if weight.grad is not None]
            self.gradient = torch.cat(grads).clone()


class Kill(TrainerCallback):
    """Ends a run from outside, as it were, when a step begins."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Raise what nobody catches."""
        if state.global_step == self._step:
            raise KeyboardInterrupt


class Poison(TrainerCallback):
    """Puts a NaN into one weight as a step begins."""

    def __init__(self, step: int, name: str) -> None:
        self._step, self._name = step, name

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Damage the weight; steps are counted from 1."""
        if state.global_step + 1 == self._step:
            with torch.no_grad():
                kwargs["model"].get_parameter(self._name).view(-1)[5] = math.nan


def flat_weights(trainer: TunesmithTrainer) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in trainer.module.parameters()])


def losses(trainer: TunesmithTrainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("layout", ["packed", "padded"])
def test_any_split_of_24_rows_gives_the_same_loss_and_gradient(layout: LayoutKind, tmp_path: Path) -> None:
    results = []
    for batch_rows, accumulation in [(24, 1), (12, 2), (8, 3), (5, 5), (3, 8), (1, 24)]:
        keys = {
            "per_device_train_batch_size": batch_rows,
            "gradient_accumulation_steps": accumulation,
            "max_steps": 1,
            "max_grad_norm": 0,
        }
        watch = FirstGradient()
        trainer = TinyRun(folder=tmp_path, keys=keys, layout=layout, callbacks=[watch]).trainer()
        trainer.train()
        results.append((losses(trainer)[0], watch.gradient))
    loss, gradient = results[0]
    assert len(gradient) > 10_000 and float(gradient.abs().max()) > 0.01
    for other_loss, other_gradient in results[1:]:
        assert other_loss == pytest.approx(loss, abs=1e-6)
        assert float((other_gradient - gradient).abs().max()) < 1e-6


def test_packed_rows_train_as_padded_rows(tmp_path: Path) -> None:
    curves = []
    layouts: tuple[LayoutKind, ...] = ("packed", "padded")
    for layout in layouts:
        trainer = TinyRun(folder=tmp_path, layout=layout).trainer()
        trainer.train()
        curves.append(losses(trainer))
    assert len(curves[0]) == 12 and curves[0] == pytest.approx(curves[1], abs=1e-5)
    assert curves[0][-1] < curves[0][0] - 0.1


def test_the_first_loss_is_plain_cross_entropy(tmp_path: Path) -> None:
    store = make_store([12, 7, 9])
    model = tiny_model()
    total, count = 0.0, 0
    for index in range(3):
        row = store[index]
        ids = torch.from_numpy(row.input_ids.copy()).long()[None]
        labels = ids.masked_fill(torch.from_numpy(row.weights.copy())[None] == 0, -100)
        logits = model(input_ids=ids).logits[0, :-1]
        total += nn.functional.cross_entropy(logits, labels[0, 1:], reduction="sum").item()
        count += int((labels[0, 1:] != -100).sum())
    trainer = TinyRun(folder=tmp_path, store=store, model=model, keys={"max_steps": 1}).trainer()
    trainer.train()
    assert losses(trainer)[0] == pytest.approx(total / count, abs=1e-5)


def test_totals_are_true(tmp_path: Path) -> None:
    trainer = TinyRun(folder=tmp_path, keys={"gradient_accumulation_steps": 2, "logging_steps": 2}).trainer()
    output = trainer.train()
    totals = trainer.totals()
    store = trainer.parts.train
    assert store is not None
    assert (totals.steps, totals.rows, totals.tokens) == (6, 48, 2 * sum(LENGTHS))
    assert totals.supervised_tokens == 2 * int(store.num_supervised.sum())
    assert sum(losses(trainer)) / 3 == pytest.approx(totals.mean_loss, abs=1e-9)
    assert output.metrics["train_loss"] == totals.mean_loss
    assert output.metrics["train_samples_per_second"] == pytest.approx(48 / totals.seconds, rel=1e-2)


SAVING = {"save_strategy": "steps", "save_steps": 2, "logging_steps": 3, "gradient_accumulation_steps": 2}


def dropout_model() -> Any:
    return tiny_model(attention_dropout=0.2)


def test_a_run_ended_at_any_step_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    keys = {**SAVING, "num_train_epochs": 3}
    straight = TinyRun(folder=tmp_path / "straight", keys=keys, model=dropout_model()).trainer()
    straight.train()
    undropped = TinyRun(folder=tmp_path / "undropped", keys=keys).trainer()
    undropped.train()
    assert not torch.equal(flat_weights(straight), flat_weights(undropped)), "the test needs random numbers"
    for step in (3, 4, 6, 8):
        folder = tmp_path / f"killed-{step}"
        with pytest.raises(KeyboardInterrupt):
            TinyRun(folder=folder, keys=keys, model=dropout_model(), callbacks=[Kill(step)]).trainer().train()
        resumed = TinyRun(folder=folder, keys=keys, model=dropout_model()).trainer()
        resumed.train(resume_from_checkpoint=str(list_checkpoints(folder)[-1][1]))
        assert torch.equal(flat_weights(straight), flat_weights(resumed)), f"killed at step {step}"
        mine, theirs = resumed.totals(), straight.totals()
        assert mine.mean_loss == pytest.approx(theirs.mean_loss, abs=1e-9)
        assert (mine.steps, mine.rows, mine.tokens) == (theirs.steps, theirs.rows, theirs.tokens)
        assert (mine.steps, mine.rows, mine.tokens) == (9, 72, 3 * sum(LENGTHS))
        assert losses(resumed) == pytest.approx(losses(straight), abs=1e-9)


def test_checkpoints_are_verified_folders_without_pickles(tmp_path: Path) -> None:
    TinyRun(folder=tmp_path, keys=SAVING).trainer().train()
    found = list_checkpoints(tmp_path)
    assert [step for step, _ in found] == [2, 4, 6]
    assert all(find_fault(path) is None for _, path in found)
    suffixes = {path.suffix for _, folder in found for path in folder.iterdir()}
    assert suffixes == {".json", ".safetensors", ".yaml"}


def test_a_finished_run_trains_no_further_step(tmp_path: Path) -> None:
    keys = {**SAVING, "max_steps": 4, "num_train_epochs": 9}
    first = TinyRun(folder=tmp_path, keys=keys).trainer()
    first.train()
    again = TinyRun(folder=tmp_path, keys=keys).trainer()
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert again.state.global_step == 4 and again.totals().steps == 4
    assert torch.equal(flat_weights(first), flat_weights(again))
    assert again.totals().mean_loss == pytest.approx(first.totals().mean_loss)


def test_a_run_can_be_made_longer(tmp_path: Path) -> None:
    keys = {**SAVING, "lr_scheduler_type": "constant"}
    straight = TinyRun(folder=tmp_path / "straight", keys={**keys, "num_train_epochs": 2}).trainer()
    straight.train()
    TinyRun(folder=tmp_path / "longer", keys={**keys, "num_train_epochs": 1}).trainer().train()
    longer = TinyRun(folder=tmp_path / "longer", keys={**keys, "num_train_epochs": 2}).trainer()
    longer.train(resume_from_checkpoint=str(tmp_path / "longer" / "checkpoint-3"))
    assert torch.equal(flat_weights(straight), flat_weights(longer))


def test_a_checkpoint_of_weights_cannot_be_continued(tmp_path: Path) -> None:
    keys = {**SAVING, "save_only_model": True}
    TinyRun(folder=tmp_path, keys=keys).trainer().train()
    assert not (tmp_path / "checkpoint-6" / "optimizer.json").exists()
    with pytest.raises(TunesmithError, match=r"checkpoint\.weights_only"):
        TinyRun(folder=tmp_path, keys=keys).trainer().train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))


@pytest.mark.parametrize("name", ["model.layers.1.mlp.up_proj.weight", "model.norm.weight"])
def test_a_nan_weight_stops_the_run_with_step_rows_and_module(name: str, tmp_path: Path) -> None:
    keys = {"save_strategy": "steps", "save_steps": 2, "num_train_epochs": 3}
    trainer = TinyRun(folder=tmp_path, keys=keys, callbacks=[Poison(7, name)]).trainer()
    with pytest.raises(TunesmithError) as caught:
        trainer.train()
    (problem,) = caught.value.problems
    assert problem.code == "training.loss_not_finite" and caught.value.exit_code == 6
    assert "Step 7" in problem.message and name in problem.message
    assert problem.where.num_rows == 4 and problem.where.rows is not None and len(problem.where.rows) == 4
    found = list_checkpoints(tmp_path)
    assert [step for step, _ in found] == [2, 4, 6] and find_fault(found[-1][1]) is None


def test_a_weight_that_overflows_is_stopped_before_it_is_saved(tmp_path: Path) -> None:
    keys = {"learning_rate": 3e38, "optim": "sgd", "max_grad_norm": 0, "save_strategy": "steps", "save_steps": 1}
    with pytest.raises(TunesmithError) as caught:
        TinyRun(folder=tmp_path, keys=keys).trainer().train()
    assert caught.value.exit_code == 6
    assert all(find_fault(path) is None for _, path in list_checkpoints(tmp_path))


EVALUATING = {"eval_strategy": "steps", "eval_steps": 2, "compute_accuracy": True, "num_train_epochs": 3}


def eval_sets() -> dict[str, Any]:
    return {"a": make_store([9, 12, 7], seed=5), "b": make_store([6, 8], seed=6)}


@pytest.mark.parametrize("layout", ["packed", "padded"])
def test_evaluation_reports_every_set(layout: LayoutKind, tmp_path: Path) -> None:
    trainer = TinyRun(folder=tmp_path, keys=EVALUATING, evals=eval_sets(), layout=layout).trainer()
    trainer.train()
    entries = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    assert [entry["step"] for entry in entries] == [2, 4, 6, 8, 10, 12, 14, 16, 18]
    metrics = entries[-1]
    assert trainer.eval_metric_names() <= set(metrics)
    assert metrics["eval_perplexity"] == pytest.approx(math.exp(metrics["eval_loss"]))
    assert min(metrics["eval_a_loss"], metrics["eval_b_loss"]) < metrics["eval_loss"]


def test_evaluation_leaves_training_as_it_was(tmp_path: Path) -> None:
    plain = TinyRun(folder=tmp_path, model=dropout_model()).trainer()
    plain.train()
    keys = {**EVALUATING, "num_train_epochs": 2}
    watched = TinyRun(folder=tmp_path, keys=keys, evals=eval_sets(), model=dropout_model()).trainer()
    watched.train()
    assert torch.equal(flat_weights(plain), flat_weights(watched))


def test_an_evaluation_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    trainer = TinyRun(folder=tmp_path, keys=EVALUATING, evals=eval_sets()).trainer()
    with torch.no_grad():
        trainer.module.get_parameter("model.norm.weight")[0] = math.inf
    with pytest.raises(TunesmithError, match=r"evaluation_not_finite.*eval_loss") as caught:
        trainer.evaluate()
    assert caught.value.exit_code == 6


def test_saving_only_the_best(tmp_path: Path) -> None:
    keys = {**EVALUATING, "save_strategy": "best", "learning_rate": 5e-2, "save_total_limit": 1}
    trainer = TinyRun(folder=tmp_path, keys=keys, evals=eval_sets()).trainer()
    trainer.train()
    entries = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    best = min(entries, key=lambda entry: entry["eval_loss"])["step"]
    assert [step for step, _ in list_checkpoints(tmp_path)] == [best]


def test_worker_processes_change_nothing(tmp_path: Path) -> None:
    alone = TinyRun(folder=tmp_path, model=dropout_model()).trainer()
    alone.train()
    keys = {"dataloader_num_workers": 1, "dataloader_prefetch_factor": 2, "dataloader_persistent_workers": True}
    helped = TinyRun(folder=tmp_path, keys=keys, model=dropout_model()).trainer()
    helped.train()
    assert torch.equal(flat_weights(alone), flat_weights(helped))


def test_the_manifest_tells_the_position_in_the_data(tmp_path: Path) -> None:
    TinyRun(folder=tmp_path, keys=SAVING).trainer().train()
    positions = [read_manifest(path).progress for _, path in list_checkpoints(tmp_path)]
    assert [(round(entry["epoch"], 3), entry["micro_batch"]) for entry in positions] == [
        (0.667, 4),
        (1.333, 2),
        (2.0, 0),
    ]


def test_the_best_checkpoint_outlives_the_limit_and_is_loaded_at_the_end(tmp_path: Path) -> None:
    keys = {
        **EVALUATING,
        "save_strategy": "steps",
        "save_steps": 2,
        "save_total_limit": 2,
        "load_best_model_at_end": True,
        "learning_rate": 5e-2,
    }
    trainer = TinyRun(folder=tmp_path, keys=keys, evals=eval_sets()).trainer()
    trainer.train()
    entries = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    best = min(entries, key=lambda entry: entry["eval_loss"])
    assert best["step"] < 18, "the test needs a run that overfits"
    assert [step for step, _ in list_checkpoints(tmp_path)] == [best["step"], 18]
    assert trainer.restored_step == best["step"]
    assert trainer.measure()["eval_loss"] == pytest.approx(best["eval_loss"], abs=1e-6)
    assert [entry for entry in trainer.state.log_history if "eval_loss" in entry] == entries


def test_early_stopping_counts_on_after_a_resume(tmp_path: Path) -> None:
    keys = {**EVALUATING, "save_strategy": "steps", "save_steps": 2, "learning_rate": 5e-2}

    def run(folder: Path, *extra: TrainerCallback) -> TunesmithTrainer:
        trainer = TinyRun(folder=folder, keys=keys, evals=eval_sets(), callbacks=extra).trainer()
        trainer.add_callback(EarlyStopping(trainer, patience=2))
        return trainer

    straight = run(tmp_path / "straight")
    straight.train()
    end = straight.state.global_step
    assert end < 18, "the test needs a run that overfits"
    folder = tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt):
        run(folder, Kill(end - 1)).train()
    for _ in range(2):  # continued, and continued once more after it had stopped
        resumed = run(folder)
        resumed.train(resume_from_checkpoint=str(list_checkpoints(folder)[-1][1]))
        assert resumed.state.global_step == end
    assert torch.equal(flat_weights(straight), flat_weights(resumed))


def test_an_interrupt_finishes_the_step_and_saves_it(tmp_path: Path) -> None:
    flag = InterruptFlag()

    class PressKey(TrainerCallback):
        def on_step_begin(
            self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
        ) -> None:
            flag.is_set = state.global_step == 4

    callbacks = [PressKey(), StopWhenInterrupted(flag)]
    with pytest.raises(TunesmithError, match=r"training\.run_interrupted.*step 5 of 12") as caught:
        TinyRun(folder=tmp_path, callbacks=callbacks).trainer().train()
    assert caught.value.exit_code == 130
    assert [step for step, _ in list_checkpoints(tmp_path)] == [5]


def test_mixed_precision_and_checkpointing_change_little(tmp_path: Path) -> None:
    curves = {}
    variants: dict[str, dict[str, Any]] = {
        "plain": {},
        "bf16": {"bf16": True},
        "checkpointed": {"gradient_checkpointing": True},
        "reentrant": {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}},
    }
    for name, keys in variants.items():
        trainer = TinyRun(folder=tmp_path, keys=keys).trainer()
        trainer.train()
        curves[name] = losses(trainer)
    assert curves["checkpointed"] == pytest.approx(curves["plain"], abs=1e-6)
    assert curves["reentrant"] == pytest.approx(curves["plain"], abs=1e-6)
    assert curves["bf16"] == pytest.approx(curves["plain"], abs=0.05) and curves["bf16"] != curves["plain"]


@pytest.mark.parametrize("optim", ["adamw_torch", "adafactor", "sgd", "adagrad", "rmsprop"])
def test_optimizers_resume_to_the_same_bytes(optim: str, tmp_path: Path) -> None:
    keys = {**SAVING, "optim": optim, "lr_scheduler_type": "cosine", "warmup_steps": 2}
    straight = TinyRun(folder=tmp_path, keys=keys).trainer()
    straight.train()
    resumed = TinyRun(folder=tmp_path, keys=keys).trainer()
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert torch.equal(flat_weights(straight), flat_weights(resumed))


def test_a_plateau_scheduler_follows_evaluations(tmp_path: Path) -> None:
    keys = {
        **EVALUATING,
        "lr_scheduler_type": "reduce_lr_on_plateau",
        "lr_scheduler_kwargs": {"patience": 0, "threshold": 10.0},
        "save_strategy": "steps",
        "save_steps": 6,
    }
    straight = TinyRun(folder=tmp_path, keys=keys, evals=eval_sets()).trainer()
    straight.train()
    rates = [entry["learning_rate"] for entry in straight.state.log_history if "learning_rate" in entry]
    assert rates[-1] < rates[0]
    resumed = TinyRun(folder=tmp_path, keys=keys, evals=eval_sets()).trainer()
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    assert torch.equal(flat_weights(straight), flat_weights(resumed))


def test_the_state_file_holds_the_history(tmp_path: Path) -> None:
    TinyRun(folder=tmp_path, keys=SAVING).trainer().train()
    state = json.loads((tmp_path / "checkpoint-6" / "trainer_state.json").read_text(encoding="utf-8"))
    assert state["global_step"] == 6 and [entry["step"] for entry in state["log_history"]] == [3, 6]
