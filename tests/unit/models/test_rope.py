# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Scaled positions: their factors and parameters, what is refused, and that packed rows stay exact with them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig

from tests.unit.models.tiny_models import tiny_model
from tunesmith.config.load import load_config
from tunesmith.core.errors import TunesmithError
from tunesmith.core.report import collected_warnings
from tunesmith.models.attention.families import FOREST_TYPES
from tunesmith.models.attention.packing import self_test
from tunesmith.models.load import load_model, load_model_config
from tunesmith.models.rope import RopeScaling, check_rope, readable_positions, rope_of_run
from tunesmith.models.variants import with_changes

OWN = 128  # positions of the tiny models


def config_of(family: str = "llama", **changes: Any) -> PreTrainedConfig:
    found: PreTrainedConfig = tiny_model(family, attention="eager", **changes).config
    return found


def scaling_of(model_config: PreTrainedConfig, command: Any = "train", **keys: Any) -> RopeScaling | None:
    config = (
        load_config({"model_name_or_path": "x", "dataset": "x", "output_dir": "y", **keys}, command=command)
        if (command == "train")
        else load_config({"model_name_or_path": "x", **keys}, command=command)
    )
    return rope_of_run(config, model_config, [])


def code_of(model_config: PreTrainedConfig, command: Any = "train", **keys: Any) -> str:
    with pytest.raises(TunesmithError) as refused:
        scaling_of(model_config, command, **keys)
    return refused.value.problems[0].code


@pytest.mark.parametrize(("length", "factor"), [(129, 2.0), (256, 2.0), (257, 3.0), (512, 4.0)])
@pytest.mark.parametrize("method", ["linear", "yarn", "llama3"])
def test_the_factor_is_the_length_over_the_models_rounded_up(method: str, length: int, factor: float) -> None:
    scaling = scaling_of(config_of(), rope_scaling=method, cutoff_len=length)
    assert scaling is not None and scaling.parameters["factor"] == factor
    original = scaling.parameters.get("original_max_position_embeddings")
    assert original == (None if method == "linear" else OWN)
    assert scaling.max_positions == (OWN * factor if method == "llama3" else None)
    assert (scaling.parameters.get("low_freq_factor"), scaling.parameters.get("high_freq_factor")) == (
        (1.0, 4.0) if method == "llama3" else (None, None)
    )


def test_other_spellings_and_lengths() -> None:
    by_length = scaling_of(config_of(), rope_scaling="yarn", max_model_len=500, cutoff_len=100)
    assert by_length is not None and by_length.parameters["factor"] == 4.0
    text = '{"type": "yarn", "factor": 3.5, "original_max_position_embeddings": 64}'
    mapping = scaling_of(config_of(), rope_scaling=text)
    assert mapping is not None and mapping.parameters["factor"] == 3.5
    assert mapping.parameters["original_max_position_embeddings"] == 64 and mapping.method == "yarn"
    chat = scaling_of(config_of(), "chat", rope_scaling="dynamic")
    assert chat is not None and chat.parameters["factor"] == 2.0
    assert scaling_of(config_of(), rope_scaling="linear", cutoff_len=OWN) is None
    assert {problem.code for problem in collected_warnings()} == {"model.rope_idle"}


def test_what_cannot_be_scaled_is_refused() -> None:
    gpt2 = AutoConfig.for_model("gpt2")
    assert code_of(gpt2, rope_scaling="yarn", cutoff_len=4096) == "model.rope_unsupported"
    assert code_of(config_of(), rope_scaling="dynamic", cutoff_len=512) == "model.rope_unsupported"
    assert code_of(config_of(), rope_scaling={"rope_type": "strange"}) == "model.rope_unsupported"
    assert code_of(config_of(), rope_scaling={"rope_type": "linear", "factor": 0.5}) == "model.rope_unsupported"
    assert code_of(config_of(), rope_scaling={"rope_type": "longrope"}) == "model.rope_unsupported"
    for method in ("linear", "yarn"):  # transformers gives this family longrope alone
        assert code_of(config_of("phi3"), rope_scaling=method, cutoff_len=512) == "model.rope_unsupported"
    scaled = config_of(rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0})
    assert code_of(scaled, rope_scaling="yarn", cutoff_len=512) == "model.rope_unsupported"
    assert code_of(config_of(), max_model_len=512) == "config.keys_conflict"
    with pytest.raises(TunesmithError):
        check_rope(AutoModelForCausalLM.from_config(AutoConfig.for_model("gpt2", n_layer=1, n_embd=8, n_head=2)),
                   RopeScaling(parameters={"rope_type": "linear", "factor": 2.0}))  # fmt: skip


@pytest.mark.parametrize("method", ["linear", "yarn", "llama3"])
@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3_text", "smollm3", "glm4", "gpt_oss"])
def test_a_scaled_model_loads_computes_otherwise_and_packs(
    family: str, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    base = tmp_path / "base"
    model = tiny_model(family, attention="eager")
    model.save_pretrained(base)
    keys = {"model_name_or_path": str(base), "dataset": "x", "output_dir": "y"}
    config = load_config({**keys, "rope_scaling": method, "cutoff_len": 512}, command="train")
    folder = with_changes(config, base)
    assert folder != base and with_changes(config, base) == folder
    scaled = load_model(folder, dtype=torch.float32).eval()
    assert readable_positions(load_model_config(folder)) == readable_positions(scaled.config) == 4 * OWN
    ids = torch.randint(3, 96, (1, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        difference = (scaled(input_ids=ids).logits - model.eval()(input_ids=ids).logits).abs().max()
    assert difference > 1e-4
    assert self_test(scaled).is_equal == (scaled.config.model_type in FOREST_TYPES)
