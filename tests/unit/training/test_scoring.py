# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Reward models and variants of fine-tuning in the trainer: any split and layout is the same run, resumed exactly."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import LlamaForSequenceClassification, PreTrainedModel

from tests.unit.training.batches import make_pairs, make_rows
from tests.unit.training.runs import TinyRun, tiny_model
from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import LayoutKind
from tunesmith.data.store import TokenStore, build_store
from tunesmith.models.attention.forest import FOREST
from tunesmith.models.tuners.base import Tuner
from tunesmith.models.tuners.full import FullParams, FullTuner
from tunesmith.models.tuners.lora import LoraParams, LoraTuner
from tunesmith.training.trainer import TunesmithTrainer

LENGTHS = tuple(6 + (5 * number) % 11 for number in range(16))
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "rm": ("rm", {"center_rewards_coefficient": 0.05}),
    "eaft": ("sft", {"use_eaft_loss": True}),
    "asft": ("sft", {"use_asft_loss": True, "asft_alpha": 0.5}),
    "smoothing": ("sft", {"label_smoothing_factor": 0.1}),
    "dft": ("sft", {"use_dft_loss": True}),
    "focal": ("sft", {"focal_gamma": 2.0}),
    "channels": ("sft", {"enable_channel_loss": True}),
    "smoothed text": ("pt", {"label_smoothing_factor": 0.2, "enable_channel_loss": True}),
}


def reward_model() -> PreTrainedModel:
    writer: Any = tiny_model()
    config = type(writer.config)(**{**writer.config.to_dict(), "num_labels": 1, "pad_token_id": 0})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForSequenceClassification(config)
    model.model.load_state_dict(writer.model.state_dict())
    model.set_attn_implementation(FOREST)
    return model


def rows_of(stage: str) -> TokenStore:
    if stage == "rm":
        return build_store(replace(row, label=0.25 * (row.source.row % 3)) for row in make_pairs(LENGTHS, seed=5))
    made = make_rows(LENGTHS, seed=5, is_text=stage == "pt")
    weighed = [replace(row, weights=row.weights * (0.5 + row.source.row % 3)) for row in made]
    return build_store(replace(row, channel=("a", "b", None)[row.source.row % 3]) for row in weighed)


def prepared(stage: str, tuner: str) -> tuple[nn.Module, Tuner]:
    base = reward_model() if stage == "rm" else tiny_model()
    chosen: Tuner = FullTuner(FullParams()) if tuner == "full" else LoraTuner(LoraParams.model_validate({}), seed=3)
    return chosen.attach(base), chosen


def trainer_of(
    folder: Path, variant: str, *, rows: int = 8, layout: LayoutKind = "packed", tuner: str = "full", **keys: Any
) -> TunesmithTrainer:
    stage, named = VARIANTS[variant]
    settings = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": 8 // rows, "num_train_epochs": 2}
    model, chosen = prepared(stage, tuner)
    store = rows_of(stage)
    return TinyRun(
        folder=folder,
        keys={**settings, **keys},
        stage=stage,
        objective_keys=named,
        store=store,
        evals={"same": store},
        layout=layout,
        model=model,
        tuner=chosen,
    ).trainer()


def curve(trainer: TunesmithTrainer) -> list[dict[str, float]]:
    trainer.train()
    left_out = ("epoch", "step", "learning_rate")
    return [
        {name: value for name, value in entry.items() if name not in left_out}
        for entry in trainer.state.log_history
        if "grad_norm" in entry
    ]


def likelihood(step: dict[str, float]) -> float:
    """Give what falls in training: a loss weighed by probabilities may rise with them."""
    return step.get("nll", step["loss"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_any_split_and_layout_is_the_same_run(variant: str, tmp_path: Path) -> None:
    expected = curve(trainer_of(tmp_path, variant))
    assert len(expected) == 4 and likelihood(expected[-1]) < likelihood(expected[0])
    found = curve(trainer_of(tmp_path, variant, rows=2, layout="padded"))
    for step, known in zip(found, expected, strict=True):
        assert step == pytest.approx(known, rel=1e-4, abs=5e-5)


@pytest.mark.parametrize("variant", ["rm", "asft"])
def test_with_an_adapter_too(variant: str, tmp_path: Path) -> None:
    expected = curve(trainer_of(tmp_path, variant, tuner="lora"))
    found = curve(trainer_of(tmp_path, variant, tuner="lora", rows=2, layout="padded"))
    assert len(expected) == 4 and likelihood(expected[-1]) < likelihood(expected[0])
    for step, known in zip(found, expected, strict=True):
        assert step == pytest.approx(known, rel=1e-4, abs=5e-5)


@pytest.mark.parametrize("variant", ["rm", "asft", "channels"])
def test_evaluation_does_not_depend_on_its_batches(variant: str, tmp_path: Path) -> None:
    results = []
    for size in (1, 5):
        trainer = trainer_of(tmp_path, variant, per_device_eval_batch_size=size, max_steps=1)
        trainer.train()
        timed = ("second", "runtime")
        found = trainer.measure()
        results.append({name: value for name, value in found.items() if not any(word in name for word in timed)})
    assert results[0] == pytest.approx(results[1], rel=1e-5, abs=1e-5)
    expected = {"rm": "eval_rewards/accuracies", "asft": "eval_kl", "channels": "eval_loss_a"}[variant]
    assert results[0][expected] > 0


@pytest.mark.parametrize("tuner", ["full", "lora"])
def test_the_anchor_is_the_model_as_it_started(tuner: str, tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, "asft", tuner=tuner)
    first = curve(trainer)[0]
    assert first["kl"] == pytest.approx(0.0, abs=1e-6)
    assert trainer.measure()["eval_kl"] > 1e-4


def test_a_stronger_anchor_stays_nearer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distances = []
    for alpha in (0.0, 5.0):
        monkeypatch.setitem(VARIANTS, "asft", ("sft", {"use_asft_loss": True, "asft_alpha": alpha}))
        trainer = trainer_of(tmp_path, "asft")
        trainer.train()
        distances.append(trainer.measure()["eval_kl"])
    assert distances[1] < 0.8 * distances[0]


def test_another_model_as_anchor_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = {name: value.detach().clone() for name, value in tiny_model(seed=1).named_parameters()}

    @contextlib.contextmanager
    def of_other(self: FullTuner, model: nn.Module) -> Iterator[None]:
        own = {name: parameter.data for name, parameter in model.named_parameters()}
        for name, parameter in model.named_parameters():
            parameter.data = other[name]
        try:
            yield
        finally:
            for name, parameter in model.named_parameters():
                parameter.data = own[name]

    monkeypatch.setattr(FullTuner, "base_view", of_other)
    trainer = trainer_of(tmp_path, "asft")
    with pytest.raises(TunesmithError) as caught:
        trainer.train()
    assert caught.value.problems[0].code == "training.reference_differs" and trainer.state.global_step == 0


@pytest.mark.parametrize("variant", ["rm", "asft"])
def test_a_resumed_run_ends_with_the_same_bytes(variant: str, tmp_path: Path) -> None:
    saving: dict[str, Any] = {"save_strategy": "steps", "save_steps": 3, "gradient_accumulation_steps": 1}
    whole = trainer_of(tmp_path, variant, tuner="lora", **saving)
    whole.train()
    expected = {name: value.clone() for name, value in whole.module.state_dict().items()}
    resumed = trainer_of(tmp_path, variant, tuner="lora", **saving)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert resumed.state.global_step == whole.state.global_step == 4
    assert all(torch.equal(value, expected[name]) for name, value in resumed.module.state_dict().items())
