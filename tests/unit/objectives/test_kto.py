# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""KTO equals its formula in NumPy, forward and gradient, with the divergence of the step, without its gradient."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.training.batches import make_feedback
from tunesmith.core.types import Batch, Scores
from tunesmith.data.collate import collate
from tunesmith.data.mismatched import MismatchedRows
from tunesmith.data.store import build_store
from tunesmith.objectives.kto import FeedbackOptimisation, KtoParams

LENGTHS = (4, 7, 5, 3, 6)
SETTINGS = [
    {},
    {"pref_beta": 0.7, "kto_chosen_weight": 0.5, "kto_rejected_weight": 1.5, "pref_ftx": 0.3},
]


def made_batch() -> Batch:
    rows = MismatchedRows(build_store(make_feedback(LENGTHS)))
    return collate([rows[number] for number in range(len(rows))], layout="packed", pad_id=0)


def formula(batch: Batch, policy: Any, reference: Any, divergence: float | None, **keys: float) -> tuple[float, float]:
    """Give the loss, and the divergence where none is given."""
    beta, ftx = keys.get("pref_beta", 0.1), keys.get("pref_ftx", 0.0)
    weights = {1.0: keys.get("kto_chosen_weight", 1.0), 0.0: keys.get("kto_rejected_weight", 1.0)}
    assert batch.labels is not None
    spans = [batch.target_segment_N.numpy() == place for place in range(len(batch.segment_names))]
    ratios = [float((policy - reference)[span].sum()) for span in spans]
    of = {
        name: [i for i, known in enumerate(batch.segment_names) if known == name] for name in ("answer", "mismatched")
    }
    if divergence is None:
        divergence = max(0.0, float(np.mean([ratios[place] for place in of["mismatched"]])))
    loss = 0.0
    for place, label in zip(of["answer"], batch.labels.tolist(), strict=True):
        sign = 1 if label else -1
        loss += weights[label] * (1 - 1 / (1 + np.exp(-sign * beta * (ratios[place] - divergence))))
        loss -= ftx * label * float(policy[spans[place]].mean())
    return loss, divergence


@pytest.mark.parametrize("shift", [-0.4, 0.4])
@pytest.mark.parametrize("keys", SETTINGS)
def test_loss_and_gradient_equal_the_formula(keys: dict[str, float], shift: float) -> None:
    batch, objective = made_batch(), FeedbackOptimisation(KtoParams.model_validate(keys))
    generator = np.random.default_rng(2)
    reference = -generator.uniform(0.5, 3.0, len(batch.target_ids_N))
    policy = reference + shift + generator.normal(0, 0.3, len(reference))
    tensor = torch.tensor(policy, requires_grad=True)
    scores, fixed = Scores(logps_N=tensor), Scores(logps_N=torch.tensor(reference))
    statistics = objective.step_statistics(batch, scores, fixed)
    output = objective.loss(batch, scores, fixed, statistics)
    (slope,) = torch.autograd.grad(output.loss, tensor)
    expected, divergence = formula(batch, policy, reference, None, **keys)
    assert (divergence > 0) is (shift > 0)
    assert output.loss.item() == pytest.approx(expected, abs=1e-6)
    total, count = output.metrics["kl"]
    assert max(0.0, float(total) / float(count)) == pytest.approx(divergence, abs=1e-6)
    for place in range(len(policy)):
        step = np.zeros(len(policy))
        step[place] = 1e-5
        ends = [formula(batch, policy + sign * step, reference, divergence, **keys)[0] for sign in (1, -1)]
        assert float(slope[place]) == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-6)


def test_equal_models_have_no_divergence_and_half_the_weights() -> None:
    batch, objective = made_batch(), FeedbackOptimisation(KtoParams.model_validate(SETTINGS[1] | {"pref_ftx": 0.0}))
    output = objective.at_reference(batch, Scores(logps_N=-torch.rand(len(batch.target_ids_N))))
    assert output.loss.item() == pytest.approx(0.5 * (3 * 1.5 + 2 * 0.5))
    assert float(output.metrics["kl"][0]) == 0


def test_metrics_count_each_kind_apart() -> None:
    batch, objective = made_batch(), FeedbackOptimisation(KtoParams.model_validate({}))
    scores = Scores(logps_N=-torch.rand(len(batch.target_ids_N)))
    metrics = objective.at_reference(batch, scores).metrics
    assert [metrics[name][1] for name in ("rewards/chosen", "rewards/rejected", "kl")] == [2, 3, 5]
