# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What all tuners over PEFT share: families, targets, layers of another kind, adapters of another kind."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.models.tiny_models import tiny_model
from tests.unit.models.tiny_tuners import build
from tests.unit.models.tuners.test_lora import code_of, logits, shaken
from tests.unit.models.tuners.test_lora import tuner as lora
from tunesmith.core.errors import TunesmithError
from tunesmith.models.adapter_tuner import AdapterTuner, LayerTuner
from tunesmith.models.coverage import coverage
from tunesmith.models.tuners.base import Tuner, trained_parameters, tuners

NAMES = [name for name in tuners.names() if issubclass(tuners.get(name), AdapterTuner) and name != "lora"]
LAYERED = [name for name in NAMES if issubclass(tuners.get(name), LayerTuner)]


def aimed(name: str, target: str) -> Tuner:
    keys: dict[str, Any] = {f"{name}_target": target}
    return build(name, **keys)


@pytest.mark.parametrize("family", ["llama_biased", "qwen3", "gemma2", "phi3"])
@pytest.mark.parametrize("name", NAMES)
def test_other_families_save_load_and_merge(name: str, family: str, tmp_path: Path) -> None:
    made = build(name)
    model = shaken(made.attach(tiny_model(family)))
    expected = logits(model)
    assert (expected - logits(tiny_model(family))).abs().max() > 1e-4
    made.save(model, tmp_path)
    loaded = build(name).load(tiny_model(family), tmp_path, is_trainable=True)
    assert torch.equal(logits(loaded), expected)
    assert (logits(made.merge(loaded)) - expected).abs().max() < 5e-5


@pytest.mark.parametrize("name", LAYERED)
def test_targets_are_obeyed_covered_and_refused(name: str) -> None:
    model = aimed(name, "q_proj").attach(tiny_model("llama"))
    assert all(".q_proj." in weight for weight, _ in trained_parameters(model))
    states = {row.name: row.state for row in coverage(model).rows}
    assert states["model.layers.*.self_attn.q_proj.weight"] == "adapted"
    assert states["model.layers.*.self_attn.k_proj.weight"] == "frozen"
    conv = tiny_model("gpt2", n_embd=32, n_head=4, n_layer=2)
    for target, base in (("q_prj", tiny_model("llama")), ("embed_tokens", tiny_model("llama")), ("all", conv)):
        with pytest.raises(TunesmithError) as caught:
            aimed(name, target).attach(base)
        assert code_of(caught) == "tuner.target_unknown"
        assert caught.value.problems[0].where.key == f"{name}_target"


@pytest.mark.parametrize("name", NAMES)
def test_adapters_of_another_kind_are_refused(name: str, tmp_path: Path) -> None:
    made = build(name)
    made.save(made.attach(tiny_model("llama")), tmp_path)
    with pytest.raises(TunesmithError) as caught:
        lora().load(tiny_model("llama"), tmp_path, is_trainable=False)
    assert code_of(caught) == "tuner.adapter_unsupported" and caught.value.problems[0].where.key == "finetuning_type"
