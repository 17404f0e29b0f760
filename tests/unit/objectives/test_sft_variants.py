# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The variants of fine-tuning equal their formulas in NumPy, from logits to loss, and their gradients differences."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from pydantic import ValidationError
from transformers.trainer_pt_utils import LabelSmoother

from tests.unit.training.batches import make_rows
from tunesmith.core.types import Batch, Scores
from tunesmith.data.collate import collate
from tunesmith.objectives.sft import SftParams, SupervisedFineTuning

Array = npt.NDArray[np.float64]
VOCABULARY = 30


def log_softmax(logits: Array) -> Array:
    shifted: Array = logits - logits.max(-1, keepdims=True)
    found: Array = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return found


def of_targets(logps: Array, ids: npt.NDArray[np.int64]) -> Array:
    found: Array = logps[np.arange(len(ids)), ids]
    return found


def top_entropy(logits: Array) -> Array:
    top = log_softmax(np.sort(logits, axis=-1)[:, -20:])
    found: Array = -(np.exp(top) * top).sum(-1)
    return found


# Each gives the losses of the tokens; `at` are the logits where what carries no gradient is taken.
Formula = Callable[[Array, Array, Array, npt.NDArray[np.int64]], Array]
FORMULAS: dict[str, tuple[dict[str, Any], Formula]] = {
    "plain": ({}, lambda z, at, start, ids: -of_targets(log_softmax(z), ids)),
    "dft": (
        {"use_dft_loss": True},
        lambda z, at, start, ids: -np.exp(of_targets(log_softmax(at), ids)) * of_targets(log_softmax(z), ids),
    ),
    "eaft": (
        {"use_eaft_loss": True, "eaft_alpha": 1.5},
        lambda z, at, start, ids: -((top_entropy(at) / 3) ** 1.5) * of_targets(log_softmax(z), ids),
    ),
    "asft": (
        {"use_asft_loss": True, "asft_alpha": 0.4},
        lambda z, at, start, ids: (
            -np.exp(of_targets(log_softmax(at), ids)) * of_targets(log_softmax(z), ids)
            + 0.4 * (np.exp(log_softmax(start)) * (log_softmax(start) - log_softmax(z))).sum(-1)
        ),
    ),
    "smoothing": (
        {"label_smoothing_factor": 0.2},
        lambda z, at, start, ids: -0.8 * of_targets(log_softmax(z), ids) - 0.2 * log_softmax(z).mean(-1),
    ),
    "focal": (
        {"focal_gamma": 2.0},
        lambda z, at, start, ids: (
            -((1 - np.exp(of_targets(log_softmax(z), ids))) ** 2) * of_targets(log_softmax(z), ids)
        ),
    ),
}


def scores_of(logits_NV: torch.Tensor, start_NV: torch.Tensor, batch: Batch) -> Scores:
    """Score by torch's own functions."""
    logps_NV = logits_NV.log_softmax(-1)
    top_NK = logits_NV.detach().topk(20).values.log_softmax(-1)
    return Scores(
        logps_N=logps_NV.gather(1, batch.target_ids_N[:, None])[:, 0],
        mean_logps_N=logps_NV.mean(-1),
        top_entropy_N=-(top_NK.exp() * top_NK).sum(-1),
        divergence_N=torch.nn.functional.kl_div(
            logps_NV, start_NV.log_softmax(-1), reduction="none", log_target=True
        ).sum(-1),
    )


def made_batch() -> Batch:
    batch = collate(make_rows([7, 5, 9]), layout="packed", pad_id=0)
    weights_N = torch.tensor(np.random.default_rng(5).uniform(0.2, 2.0, len(batch.target_ids_N)))
    return Batch(**{**vars(batch), "target_ids_N": batch.target_ids_N % VOCABULARY, "target_weights_N": weights_N})


@pytest.mark.parametrize("name", FORMULAS)
def test_loss_and_gradient_are_those_of_numpy(name: str) -> None:
    keys, formula = FORMULAS[name]
    batch, generator = made_batch(), np.random.default_rng(6)
    logits, start = generator.normal(size=(2, len(batch.target_ids_N), VOCABULARY)) * 1.5
    tensor = torch.tensor(logits, requires_grad=True)
    output = SupervisedFineTuning(SftParams.model_validate(keys)).loss(
        batch, scores_of(tensor, torch.tensor(start), batch)
    )
    (slope,) = torch.autograd.grad(output.loss, tensor)
    weights, ids = batch.target_weights_N.numpy(), batch.target_ids_N.numpy()

    def total(moved: Array) -> float:
        return float((weights * formula(moved, logits, start, ids)).sum())

    assert output.loss.item() == pytest.approx(total(logits), abs=1e-6)
    for place in [(0, int(ids[0])), (1, 3), (len(ids) - 1, 7), (2, int(logits[2].argmax()))]:
        step = np.zeros_like(logits)
        step[place] = 1e-4
        found = 8 * (total(logits + step) - total(logits - step)) - total(logits + 2 * step) + total(logits - 2 * step)
        assert float(slope[place]) == pytest.approx(found / 12e-4, abs=1e-6)


def test_smoothing_is_that_of_transformers() -> None:
    batch = made_batch()
    logits_NV = torch.randn(len(batch.target_ids_N), VOCABULARY, generator=torch.Generator().manual_seed(1))
    plain = Batch(**{**vars(batch), "target_weights_N": torch.ones(len(batch.target_ids_N))})
    objective = SupervisedFineTuning(SftParams.model_validate({"label_smoothing_factor": 0.3}))
    ours = objective.loss(plain, scores_of(logits_NV, logits_NV, plain)).loss / objective.units(plain)
    theirs = LabelSmoother(epsilon=0.3)({"logits": logits_NV[None]}, plain.target_ids_N[None])
    assert ours.item() == pytest.approx(float(theirs), abs=1e-6)


def test_an_anchored_loss_starts_without_divergence() -> None:
    objective, batch = SupervisedFineTuning(SftParams.model_validate({"use_asft_loss": True})), made_batch()
    logits_NV = torch.randn(len(batch.target_ids_N), VOCABULARY)
    scores = scores_of(logits_NV, torch.randn_like(logits_NV), batch)
    found, implied = objective.loss(batch, scores), objective.at_reference(batch, scores)
    assert float(found.metrics["kl"][0]) > 0.1 and float(implied.metrics["kl"][0]) == 0.0
    assert found.loss > implied.loss


def test_the_loss_of_channels_adds_up() -> None:
    batch, generator = made_batch(), torch.Generator().manual_seed(2)
    named = Batch(**{**vars(batch), "channels": ("maths", None, "maths")})
    logits_NV = torch.randn(len(batch.target_ids_N), VOCABULARY, generator=generator)
    scores = scores_of(logits_NV, logits_NV, batch)
    output = SupervisedFineTuning(SftParams.model_validate({"enable_channel_loss": True})).loss(named, scores)
    losses_N = -(scores.logps_N * batch.target_weights_N)
    is_maths_N = batch.segment_row_S[batch.target_segment_N] != 1
    sums = {name: (float(total), float(count)) for name, (total, count) in output.metrics.items()}
    weights_N = batch.target_weights_N
    assert sums["loss_maths"] == pytest.approx((float(losses_N[is_maths_N].sum()), float(weights_N[is_maths_N].sum())))
    assert sums["loss_made"] == pytest.approx((float(losses_N[~is_maths_N].sum()), float(weights_N[~is_maths_N].sum())))
    assert sums["loss_maths"][0] + sums["loss_made"][0] == pytest.approx(float(output.loss))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"use_dft_loss": True, "use_eaft_loss": True}, "keep one of them"),
        ({"use_asft_loss": True, "label_smoothing_factor": 0.1}, "keep one of them"),
        ({"eaft_alpha": 2.0}, "no effect without use_eaft_loss"),
        ({"asft_alpha": 0.5, "use_dft_loss": True}, "no effect without use_asft_loss"),
    ],
)
def test_contradictions_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SftParams.model_validate(keys)
