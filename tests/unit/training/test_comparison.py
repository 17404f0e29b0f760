# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The reference and the statistics of a step in the trainer: any split is the same, and step 0 is checked."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.training.batches import make_feedback, make_pairs
from tests.unit.training.runs import TinyRun, tiny_model
from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import Batch, LayoutKind, Scores
from tunesmith.data.mismatched import MismatchedRows
from tunesmith.data.store import build_store
from tunesmith.models.scores import score_batch
from tunesmith.models.tuners.full import FullParams, FullTuner
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


def feedback_trainer(folder: Path, *, rows: int, layout: LayoutKind, evaluates: bool = False) -> TunesmithTrainer:
    store = MismatchedRows(build_store(make_feedback(LENGTHS, seed=5)))
    keys = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": 8 // rows, "num_train_epochs": 3}
    return TinyRun(
        folder=folder, keys=keys, stage="kto", objective_keys={"pref_beta": 0.5}, store=store, layout=layout,
        evals={"feedback": store} if evaluates else {},
    ).trainer()  # fmt: skip


def test_kto_is_the_same_for_any_split_and_layout(tmp_path: Path) -> None:
    names = ("loss", "grad_norm", "kl", "rewards/chosen", "rewards/rejected", "rewards/margins", "logps/chosen")
    curves = []
    for rows, layout in ((8, "packed"), (1, "packed"), (4, "padded")):
        trainer = feedback_trainer(tmp_path, rows=rows, layout=layout)  # type: ignore[arg-type]
        trainer.train()
        curves.append([[entry[name] for name in names] for entry in trainer.state.log_history if "grad_norm" in entry])
    assert len(curves[0]) == 6 and any(step[2] != 0 for step in curves[0])
    for found in curves[1:]:
        for step, known in zip(found, curves[0], strict=True):
            assert step == pytest.approx(known, abs=3e-5)


def test_the_margin_of_feedback_is_told_by_evaluations(tmp_path: Path) -> None:
    trainer = feedback_trainer(tmp_path, rows=8, layout="packed", evaluates=True)
    trainer.train()
    found = trainer.measure()
    margin = found["eval_rewards/chosen"] - found["eval_rewards/rejected"]
    assert found["eval_rewards/margins"] == pytest.approx(margin) and margin > 0


class Passes:
    """Counts forward passes of the policy, with and without gradient, and of the reference."""

    def __init__(self, trainer: TunesmithTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.trained = self.still = self.asked = self.tokens = 0
        asked, scored = trainer.comparison.reference, score_batch

        def reference(batch: Batch) -> Scores | None:
            self.asked += 1
            return asked(batch)

        def score(model: Any, batch: Batch) -> Scores:
            self.trained += torch.is_grad_enabled()
            self.still += not torch.is_grad_enabled()
            self.tokens += batch.num_tokens * torch.is_grad_enabled()
            return scored(model, batch)

        monkeypatch.setattr(trainer.comparison, "reference", reference)
        for module in ("comparison", "scoring"):
            monkeypatch.setattr(f"tunesmith.training.{module}.score_batch", score)


@pytest.mark.parametrize(
    ("loss", "rows", "trained", "still", "asked"),
    [
        ("sigmoid", 8, 6, 1 + 6, 6),  # step 0 scores the policy once; the reference's passes are still, too
        ("aot", 8, 6, 1 + 6, 6),  # one micro-batch: the statistics come from the pass itself
        ("aot", 4, 12, 1 + 12 + 12, 12),  # two: the reference is asked once for both passes
        ("simpo", 8, 6, 0, 0),
        ("orpo", 8, 6, 0, 0),
        ("cpo", 4, 12, 0, 0),
    ],
)
def test_no_pass_is_made_twice(
    loss: str, rows: int, trained: int, still: int, asked: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_of(tmp_path, loss, rows=rows)
    passes = Passes(trainer, monkeypatch)
    trainer.train()
    assert (passes.trained, passes.still) == (trained, still)
    assert not asked or passes.asked == asked


def test_answers_to_other_prompts_take_no_gradient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = feedback_trainer(tmp_path, rows=8, layout="packed")
    passes = Passes(trainer, monkeypatch)
    trainer.train()
    rows = build_store(make_feedback(LENGTHS, seed=5))
    assert passes.tokens == 3 * int(rows.lengths.sum())


def test_short_formats_are_allowed_what_two_layouts_differ_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def short() -> TunesmithTrainer:
        return TinyRun(
            folder=tmp_path,
            stage="dpo",
            store=build_store(make_pairs(LENGTHS, seed=5)),
            model=tiny_model().bfloat16(),
            tuner=FullTuner(FullParams(), pure_bf16=True),
            keys={"num_train_epochs": 1},
        ).trainer()

    trainer = short()
    trainer.train()
    found = trainer.comparison.step_zero
    assert found is not None and found.gap <= found.tolerance and 1e-3 <= found.tolerance < 0.1
    trainer = short()
    other = TinyRun(folder=tmp_path, model=tiny_model(seed=1).bfloat16()).trainer()
    monkeypatch.setattr(
        trainer.comparison, "reference", lambda batch: Scores(logps_N=other._score(batch).logps_N.detach())
    )
    with pytest.raises(TunesmithError) as caught:
        trainer.train()
    assert caught.value.problems[0].code == "training.reference_differs"


def test_an_objective_without_reference_is_not_checked(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, "simpo")
    trainer.train()
    assert trainer.comparison.step_zero is None
