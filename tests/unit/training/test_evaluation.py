# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation is a streamed sum: independent of batches, reported per set and together."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import nn

from tests.unit.training.batches import make_batch, make_rows
from tunesmith.core.types import Batch, Scores
from tunesmith.data.collate import collate
from tunesmith.objectives.sft import SftParams, SupervisedFineTuning
from tunesmith.training import evaluation
from tunesmith.training.evaluation import EvaluationRules, evaluate_sets, metric_names

MODEL = nn.Linear(1, 1)


def alone(values: Sequence[float]) -> list[float]:
    return list(values)


def rules(*, with_accuracy: bool = True) -> EvaluationRules:
    objective = SupervisedFineTuning(SftParams.model_validate({}))
    return EvaluationRules(objective=objective, with_accuracy=with_accuracy, sum_over_ranks=alone)


def score(batch: Batch) -> Scores:
    """Give each target a log-probability made from its id; even ids rank first."""
    return Scores(logps_N=-batch.target_ids_N.float() / 50, is_top_N=batch.target_ids_N % 2 == 0)


def batches_of(sizes: Sequence[int]) -> list[Batch]:
    rows = make_rows([6, 9, 12, 5, 8, 7])
    starts = [sum(sizes[:index]) for index in range(len(sizes))]
    return [collate(rows[s : s + n], layout="packed", pad_id=0) for s, n in zip(starts, sizes, strict=True)]


def test_the_loss_does_not_depend_on_the_batches() -> None:
    ids = torch.cat([batch.target_ids_N for batch in batches_of([6])]).float()
    results = [evaluate_sets(MODEL, {"a": batches_of(s)}, rules(), score=score) for s in ([6], [1] * 6, [2, 4])]
    for metrics in results:
        assert metrics["eval_loss"] == pytest.approx(float(ids.mean()) / 50, abs=1e-6)
        assert metrics["eval_accuracy"] == pytest.approx(float((ids % 2 == 0).float().mean()))
        assert metrics["eval_perplexity"] == pytest.approx(math.exp(metrics["eval_loss"]))


def test_several_sets_are_reported_apart_and_together() -> None:
    sets = {"a": batches_of([2, 4])[:1], "b": batches_of([2, 4])[1:]}
    metrics = evaluate_sets(MODEL, sets, rules(), score=score)
    together = evaluate_sets(MODEL, {"all": batches_of([6])}, rules(), score=score)
    assert metrics["eval_loss"] == pytest.approx(together["eval_loss"])
    assert metrics["eval_a_loss"] != metrics["eval_b_loss"]
    assert set(together) >= {"eval_loss", "eval_runtime"} and "eval_all_loss" not in together


def test_names_are_known_before() -> None:
    sets = {"a": batches_of([6]), "b": batches_of([6])}
    metrics = evaluate_sets(MODEL, sets, rules(), score=score)
    speeds = {"eval_runtime", "eval_samples_per_second", "eval_steps_per_second"}
    assert metric_names(SupervisedFineTuning, sets, with_accuracy=True) == set(metrics) - speeds
    assert "eval_accuracy" not in evaluate_sets(MODEL, sets, rules(with_accuracy=False), score=score)


def test_a_long_evaluation_shows_its_own_progress(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(list(evaluation.shown(batches_of([1] * 6), "evaluating a", 6))) == 6
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(evaluation, "_SILENT_SECONDS", -1.0)
    assert len(list(evaluation.shown(batches_of([1] * 6), "evaluating a", 6))) == 6
    assert "evaluating a 6/6" in capsys.readouterr().err


def test_the_model_returns_to_its_mode() -> None:
    modes: list[bool] = []

    def watch(batch: Batch) -> Scores:
        modes.append(MODEL.training)
        return score(batch)

    MODEL.train()
    evaluate_sets(MODEL, {"a": [make_batch([4])]}, rules(), score=watch)
    assert modes == [False] and MODEL.training
