# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Quantisation-aware training: what is trained, what is loaded in 8 or 4 bits, and what is dequantised are equal."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.unit.models.quantizers.test_methods import IDS, logits, losses
from tests.unit.models.tiny_models import tiny_model
from tunesmith.core.errors import TunesmithError
from tunesmith.models.dequantise import dequantise
from tunesmith.models.load import load_model
from tunesmith.models.qat import prepare_qat, quantization_of
from tunesmith.models.saved_weights import copy_whole_model, save_whole_model

pytest.importorskip("torchao")


def aware(qat: str, **sizes: Any) -> Any:
    model = tiny_model("llama", **{"hidden_size": 64, "intermediate_size": 128, "head_dim": 16, **sizes})
    prepare_qat(model, qat)
    return model


@pytest.mark.parametrize("qat", ["int8", "int4"])
def test_loading_and_exporting_equal_the_trained_forward(qat: str, tmp_path: Path) -> None:
    model = aware(qat)
    exact = logits(tiny_model("llama", hidden_size=64, intermediate_size=128, head_dim=16))
    assert (logits(model) - exact).abs().max() > 1e-3  # it rounds
    assert type(model.get_output_embeddings()) is nn.Linear
    found = losses(model, 4, evaluates=True)
    assert found[-1] < found[0]
    trained = logits(model)
    save_whole_model(model, tmp_path)
    cpu = torch.device("cpu")
    loaded = load_model(tmp_path, dtype=torch.float32, device=cpu, quantization=quantization_of(qat))
    assert torch.equal(logits(loaded), trained)
    plain = dequantise(loaded)
    plain.save_pretrained(tmp_path / "plain")
    assert torch.equal(logits(load_model(tmp_path / "plain", dtype=torch.float32, device=cpu)), trained)


def test_exact_weights_are_saved_and_restored(tmp_path: Path) -> None:
    model = aware("int8")
    losses(model, 2, evaluates=False)
    save_whole_model(model, tmp_path)
    other = aware("int8")
    copy_whole_model(other, tmp_path)
    assert torch.equal(logits(other), logits(model))
    assert losses(other, 1, evaluates=False) == losses(model, 1, evaluates=False)


def test_widths_that_make_no_groups_are_refused() -> None:
    with pytest.raises(TunesmithError) as caught:
        aware("int4", intermediate_size=48)
    problem = caught.value.problems[0]
    assert problem.code == "model.quantization_unsupported" and "down_proj has 48" in problem.message
    assert IDS.shape == logits(aware("int8", intermediate_size=48)).shape[:2]
