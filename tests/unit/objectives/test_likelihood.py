# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The likelihood losses equal plain cross-entropy over the supervised tokens."""

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tests.unit.training.batches import make_rows
from tunesmith.core.types import RowRef, Scores, TokenRow
from tunesmith.data.collate import collate
from tunesmith.objectives.base import Objective, objectives
from tunesmith.objectives.pt import LanguageModelling, PtParams
from tunesmith.objectives.sft import SftParams, SupervisedFineTuning

SFT, PT = SupervisedFineTuning(SftParams.model_validate({})), LanguageModelling(PtParams.model_validate({}))


@pytest.mark.parametrize("objective", [SFT, PT])
def test_the_mean_is_cross_entropy(objective: Objective) -> None:
    batch = collate(make_rows([7, 5, 9]), layout="packed", pad_id=0)
    logits_NV = torch.randn(len(batch.target_ids_N), 100, requires_grad=True)
    logps_N = logits_NV.log_softmax(-1).gather(1, batch.target_ids_N[:, None])[:, 0]
    output = objective.loss(batch, Scores(logps_N=logps_N))
    expected = torch.nn.functional.cross_entropy(logits_NV, batch.target_ids_N)
    assert float(output.loss.detach()) / objective.units(batch) == pytest.approx(float(expected.detach()), rel=1e-6)
    assert output.metrics == {}


def test_weights_scale_loss_and_units() -> None:
    weights = np.array([0, 0, 0.5, 2.0], dtype=np.float32)
    row = TokenRow(
        source=RowRef(dataset="d", file="f", row=0),
        input_ids=np.arange(4, dtype=np.int32),
        weights=weights,
        segment_lengths=(4,),
    )
    batch = collate([row], layout="padded", pad_id=0)
    output = SFT.loss(batch, Scores(logps_N=torch.tensor([-1.0, -3.0]), is_top_N=torch.tensor([True, False])))
    assert float(output.loss) == pytest.approx(0.5 * 1 + 2 * 3)
    assert SFT.units(batch) == pytest.approx(2.5)
    total, count = output.metrics["accuracy"]
    assert (float(total), float(count)) == (1.0, 2.0)


def test_stages_are_found_by_name() -> None:
    assert {"pt", "sft"} <= set(objectives.names())
    assert objectives.get("sft") is SupervisedFineTuning


@pytest.mark.parametrize("keys", [{"use_dft_loss": True}, {"focal_gamma": 1.5}])
def test_variants_weigh_tokens_by_their_probability(keys: dict[str, Any]) -> None:
    objective = SupervisedFineTuning(SftParams.model_validate(keys))
    batch = collate(make_rows([7, 5, 9]), layout="packed", pad_id=0)
    logps = -np.random.default_rng(3).uniform(0.01, 4.0, len(batch.target_ids_N))
    tensor = torch.tensor(logps, requires_grad=True)
    output = objective.loss(batch, Scores(logps_N=tensor))
    (slope,) = torch.autograd.grad(output.loss, tensor)
    if "use_dft_loss" in keys:
        losses, slopes = -np.exp(logps) * logps, -np.exp(logps)
    else:
        rest = 1 - np.exp(logps)
        losses, slopes = -(rest**1.5) * logps, 1.5 * rest**0.5 * np.exp(logps) * logps - rest**1.5
    assert output.loss.item() == pytest.approx(losses.sum(), abs=1e-6)
    assert slope.numpy() == pytest.approx(slopes, abs=1e-6)
    assert float(output.metrics["nll"][0]) == pytest.approx(-logps.sum(), abs=1e-6)
    assert not objective.is_likelihood and SFT.is_likelihood


def test_opposite_variants_are_refused() -> None:
    with pytest.raises(ValidationError, match="keep one of them"):
        SftParams.model_validate({"use_dft_loss": True, "focal_gamma": 2.0})
