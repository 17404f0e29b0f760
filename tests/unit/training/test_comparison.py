# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The reference and the statistics of a step in the trainer: any split is the same, and step 0 is checked."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.training.batches import make_pairs
from tests.unit.training.runs import TinyRun, tiny_model
from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import Batch, LayoutKind, Scores
from tunesmith.data.store import build_store
from tunesmith.training.trainer import TunesmithTrainer

LENGTHS = tuple(4 + (5 * number) % 11 for number in range(16))


def trainer_of(
    folder: Path, loss: str, *, rows: int = 8, layout: LayoutKind = "packed", **keys: Any
) -> TunesmithTrainer:
    settings = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": 8 // rows, "num_train_epochs": 3}
    store = build_store(make_pairs(LENGTHS, seed=5))
    return TinyRun(
        folder=folder,
        keys={**settings, **keys},
        stage="dpo",
        objective_keys={"pref_loss": loss, "pref_ftx": 0.1},
        store=store,
        evals={"pairs": store},
        layout=layout,
    ).trainer()


def curve(trainer: TunesmithTrainer) -> list[dict[str, float]]:
    trainer.train()
    names = ("loss", "grad_norm", "rewards/margins", "rewards/accuracies", "logps/chosen", "rules/longer_wins")
    return [{name: entry[name] for name in names} for entry in trainer.state.log_history if "grad_norm" in entry]


@pytest.mark.parametrize("loss", ["kto_pair", "bco", "aot", "sigmoid,bco,simpo"])
def test_statistics_are_those_of_the_step_whatever_its_split(loss: str, tmp_path: Path) -> None:
    expected = curve(trainer_of(tmp_path, loss))
    assert len(expected) == 6
    for rows, layout in ((1, "packed"), (4, "padded")):
        found = curve(trainer_of(tmp_path, loss, rows=rows, layout=layout))  # type: ignore[arg-type]
        for step, known in zip(found, expected, strict=True):
            assert step == pytest.approx(known, abs=2e-5)


@pytest.mark.parametrize("loss", ["sigmoid", "kto_pair", "aot"])
def test_evaluation_does_not_depend_on_its_batches(loss: str, tmp_path: Path) -> None:
    results = []
    for size in (1, 5, 16):
        trainer = trainer_of(tmp_path, loss, per_device_eval_batch_size=size)
        trainer.train()
        results.append({name: value for name, value in trainer.measure().items() if "second" not in name})
    results = [{name: value for name, value in result.items() if "runtime" not in name} for result in results]
    assert results[0] == pytest.approx(results[1], abs=1e-5) and results[0] == pytest.approx(results[2], abs=1e-5)
    assert results[0]["eval_rewards/margins"] > 0


def test_the_reference_stays_as_the_policy_was(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, "sigmoid")
    batch = next(iter(trainer.get_train_dataloader()))["batch"]
    before = trainer.comparison.reference(batch)
    trainer.train()
    after, policy = trainer.comparison.reference(batch), trainer._score(batch)
    assert before is not None and after is not None
    assert torch.equal(before.logps_N, after.logps_N) and not before.logps_N.requires_grad
    assert not torch.allclose(policy.logps_N, after.logps_N, atol=1e-3)


def test_step_0_finds_equal_models(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, "sigmoid")
    trainer.train()
    found = trainer.comparison.step_zero
    assert found is not None and found.gap < 1e-6 and found.loss == pytest.approx(found.implied)


def test_step_0_stops_a_wrong_reference_and_prints_the_margin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = trainer_of(tmp_path, "sigmoid")
    other = TinyRun(folder=tmp_path, model=tiny_model(seed=1)).trainer()

    def of_other(batch: Batch) -> Scores:
        scores = other._score(batch)
        return replace(scores, logps_N=scores.logps_N.detach())

    monkeypatch.setattr(trainer.comparison, "reference", of_other)
    with pytest.raises(TunesmithError) as caught:
        trainer.train()
    (problem,) = caught.value.problems
    assert problem.code == "training.reference_differs" and "rewards/margins is off by 0." in problem.message
    assert trainer.state.global_step == 0


def test_dropout_does_not_disturb_step_0(tmp_path: Path) -> None:
    trainer = TinyRun(
        folder=tmp_path,
        stage="dpo",
        store=build_store(make_pairs(LENGTHS, seed=5)),
        model=tiny_model(attention_dropout=0.3),
        keys={"num_train_epochs": 1},
    ).trainer()
    trainer.train()
    assert trainer.comparison.step_zero is not None and trainer.comparison.step_zero.gap < 1e-6


def test_an_objective_without_reference_is_not_checked(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, "simpo")
    trainer.train()
    assert trainer.comparison.step_zero is None
