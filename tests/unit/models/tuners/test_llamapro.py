# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""LLaMA-Pro: where new layers stand, what the saved model says of them, and training those of an expanded model."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.models.tiny_models import tiny_model
from tests.unit.models.tiny_tuners import build, logits, train
from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import Sampling
from tunesmith.engines.torch import TorchEngine
from tunesmith.models.load import load_model
from tunesmith.models.tuners.base import trained_parameters


def trained_layers(model: Any) -> set[int]:
    return {int(name.split(".")[2]) for name, _ in trained_parameters(model)}


@pytest.mark.parametrize(
    ("keys", "new"),
    [
        ({"llamapro_num_new_blocks": 2}, {2, 5}),
        ({"llamapro_num_new_blocks": 4, "llamapro_num_groups": 2}, {2, 3, 6, 7}),
        ({"llamapro_num_new_blocks": 1}, {4}),
    ],
)
def test_new_layers_stand_evenly_behind_groups_of_old_ones(keys: dict[str, Any], new: set[int]) -> None:
    base = tiny_model("llama", num_hidden_layers=4)
    model: Any = build("llamapro", **keys).attach(base)
    assert trained_layers(model) == new and model.config.num_hidden_layers == 4 + len(new)
    assert [layer.self_attn.layer_idx for layer in model.model.layers] == list(range(4 + len(new)))
    assert torch.equal(logits(model), logits(tiny_model("llama", num_hidden_layers=4)))


def test_new_layers_read_the_configuration_of_the_model() -> None:
    model: Any = build("llamapro", llamapro_num_new_blocks=1).attach(tiny_model("mistral"))
    assert all(layer.self_attn.config is model.config for layer in model.model.layers)


@pytest.mark.parametrize("family", ["gemma3_text", "qwen3_moe", "deepseek_v3"])
def test_the_saved_model_is_whole_and_generates(family: str, tmp_path: Path) -> None:
    attention = "forest" if family == "gemma3_text" else "sdpa"
    tuner = build("llamapro", llamapro_num_new_blocks=1)
    model: Any = tuner.attach(tiny_model(family, attention=attention))
    assert (logits(model) - logits(tiny_model(family, attention=attention))).abs().max() < 1e-6
    train(model)
    tuner.save(model, tmp_path)
    loaded: Any = load_model(tmp_path, dtype=torch.float32, device=torch.device("cpu"))
    assert loaded.config.num_hidden_layers == 4
    assert (logits(loaded) - logits(model)).abs().max() < 1e-6
    settings = Sampling(max_new_tokens=4, stop_ids=())
    ours, theirs = (TorchEngine(part, pad_id=0).generate([[5, 6, 7]], settings) for part in (model, loaded))
    assert ours[0].token_ids == theirs[0].token_ids


def test_what_cannot_be_spread_or_silenced_is_refused() -> None:
    uneven: list[dict[str, Any]] = [{"llamapro_num_groups": 2}, {"llamapro_num_groups": 3}]
    for keys in uneven:
        with pytest.raises(TunesmithError) as caught:
            build("llamapro", **{"llamapro_num_new_blocks": 2, **keys}).attach(tiny_model("llama"))
        assert caught.value.problems[0].code == "tuner.blocks_uneven"


def test_freeze_trains_the_layers_of_an_expanded_model() -> None:
    model = build("freeze", use_llama_pro=True, freeze_trainable_layers=2).attach(
        tiny_model("llama", num_hidden_layers=6)
    )
    assert trained_layers(model) == {2, 5}
    with pytest.raises(TunesmithError) as caught:
        build("freeze", use_llama_pro=True, freeze_trainable_layers=4).attach(tiny_model("llama", num_hidden_layers=6))
    assert caught.value.problems[0].code == "tuner.blocks_uneven"
