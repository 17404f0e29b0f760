# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""OFT's keys: targets are obeyed, sizes fit, adapters of another kind are refused, rotations merge exactly."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from tests.unit.models.tiny_models import tiny_model
from tests.unit.models.tuners.test_lora import code_of, logits, saved_adapter, shaken
from tests.unit.models.tuners.test_lora import tuner as lora
from tunesmith.core.errors import TunesmithError
from tunesmith.models.coverage import coverage
from tunesmith.models.tuners.base import trained_parameters
from tunesmith.models.tuners.oft import OftParams, OftTuner


def tuner(**keys: Any) -> OftTuner:
    return OftTuner(OftParams(**keys), seed=1)


VARIANTS: dict[str, dict[str, Any]] = {
    "blocks": {"oft_block_size": 8},
    "rank": {"oft_rank": 4, "oft_block_size": 0},
    "names": {"oft_block_size": 8, "oft_target": "q_proj,v_proj"},
    "expression": {"oft_block_size": 16, "oft_target": r".*layers\.1\.mlp.*_proj"},
}


@pytest.mark.parametrize("family", ["llama", "llama_biased", "qwen3", "gemma2"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_rotations_save_load_and_merge(variant: str, family: str, tmp_path: Path) -> None:
    made = tuner(**VARIANTS[variant])
    model = shaken(made.attach(tiny_model(family)))
    expected = logits(model)
    assert (expected - logits(tiny_model(family))).abs().max() > 1e-4
    made.save(model, tmp_path)
    loaded = tuner().load(tiny_model(family), tmp_path, is_trainable=True)
    assert torch.equal(logits(loaded), expected)
    merged: Any = made.merge(loaded)
    assert (logits(merged) - expected).abs().max() < 5e-5


def test_targets_are_obeyed_and_covered() -> None:
    model = tuner(oft_block_size=8, oft_target="q_proj").attach(tiny_model("llama"))
    assert {name.split(".")[-4] for name, _ in trained_parameters(model)} == {"q_proj"}
    states = {row.name: row.state for row in coverage(model).rows}
    assert states["model.layers.*.self_attn.q_proj.weight"] == "adapted"
    assert states["model.layers.*.self_attn.k_proj.weight"] == "frozen"


@pytest.mark.parametrize("target", ["q_prj", "embed_tokens", "input_layernorm"])
def test_targets_that_cannot_be_rotated_are_refused(target: str) -> None:
    with pytest.raises(TunesmithError) as caught:
        tuner(oft_target=target).attach(tiny_model("llama"))
    assert code_of(caught) == "tuner.target_unknown" and caught.value.problems[0].where.key == "oft_target"


def test_layers_of_another_kind_are_refused() -> None:
    with pytest.raises(TunesmithError) as caught:
        tuner().attach(tiny_model("gpt2", n_embd=32, n_head=4, n_layer=2))
    assert code_of(caught) == "tuner.target_unknown" and "c_attn" in caught.value.problems[0].message


@pytest.mark.parametrize("keys", [{"oft_rank": 4}, {"oft_block_size": 0}])
def test_one_of_the_two_sizes_is_given(keys: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="must be 0"):
        OftParams.model_validate(keys)


def test_an_adapter_of_another_kind_is_refused(tmp_path: Path) -> None:
    made = tuner(oft_block_size=8)
    rotated = tmp_path / "rotated"
    rotated.mkdir()
    made.save(made.attach(tiny_model("llama")), rotated)
    for loader, folder, said in ((lora(), rotated, "OFT"), (tuner(), saved_adapter(tmp_path / "lora"), "LORA")):
        with pytest.raises(TunesmithError) as caught:
            loader.load(tiny_model("llama"), folder, is_trainable=False)
        assert code_of(caught) == "tuner.adapter_unsupported" and f"type {said}" in caught.value.problems[0].message
