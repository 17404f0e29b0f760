# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Freeze's keys choose layers and modules as LLaMA-Factory's do, and refuse names the model lacks."""

from typing import Any

import pytest

from tests.unit.models.tiny_models import tiny_model
from tunesmith.core.errors import TunesmithError
from tunesmith.core.report import collected_warnings
from tunesmith.models.tuners.base import trained_parameters
from tunesmith.models.tuners.freeze import FreezeParams, FreezeTuner

LAYERS = 3


def trained(model: Any = None, **keys: Any) -> set[str]:
    """Name what is trained: "layer.module" inside the layers, the module alone outside."""
    attached = FreezeTuner(FreezeParams(**keys)).attach(model or tiny_model("llama"))
    names = set()
    for name, _ in trained_parameters(attached):
        parts = name.split(".")
        names.add(".".join(parts[2:4]) if "layers" in parts else parts[-2])
    return names


def inside(*layers: int, modules: str = "input_layernorm self_attn post_attention_layernorm mlp") -> set[str]:
    return {f"{layer}.{module}" for layer in layers for module in modules.split()}


def test_last_and_first_layers() -> None:
    assert trained() == inside(1, 2)
    assert trained(freeze_trainable_layers=1) == inside(2)
    assert trained(freeze_trainable_layers=-2) == inside(0, 1)


def test_modules_inside_and_outside() -> None:
    assert trained(freeze_trainable_layers=1, freeze_trainable_modules="mlp") == {"2.mlp"}
    chosen = trained(freeze_trainable_modules="mlp,self_attn", freeze_extra_modules="norm,lm_head")
    assert chosen == inside(1, 2, modules="mlp self_attn") | {"norm", "lm_head"}
    assert trained(freeze_trainable_layers=0, freeze_extra_modules="embed_tokens") == {"embed_tokens"}


def test_a_tied_head_is_trained_by_either_name() -> None:
    for name in ("lm_head", "embed_tokens"):
        tied = tiny_model("llama", tie_word_embeddings=True)
        assert trained(tied, freeze_trainable_layers=0, freeze_extra_modules=name) == {"embed_tokens"}


@pytest.mark.parametrize(
    ("keys", "key", "said"),
    [
        ({"freeze_trainable_modules": "self_atn"}, "freeze_trainable_modules", "Did you mean 'self_attn'?"),
        ({"freeze_trainable_modules": "lm_head"}, "freeze_trainable_modules", "self_attn"),
        ({"freeze_extra_modules": "mlp"}, "freeze_extra_modules", "embed_tokens"),
    ],
)
def test_unknown_modules_are_refused(keys: dict[str, str], key: str, said: str) -> None:
    with pytest.raises(TunesmithError) as caught:
        trained(**keys)
    (problem,) = caught.value.problems
    assert (problem.code, problem.where.key) == ("tuner.module_unknown", key) and said in problem.remedy


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(TunesmithError) as caught:
        trained(freeze_trainable_layers=0)
    assert caught.value.problems[0].code == "tuner.nothing_trained"


def test_more_layers_than_there_are_train_all_and_warn() -> None:
    assert trained(freeze_trainable_layers=LAYERS) == inside(*range(LAYERS)) and collected_warnings() == ()
    assert trained(freeze_trainable_layers=LAYERS + 1) == inside(*range(LAYERS))
    assert [problem.code for problem in collected_warnings()] == ["tuner.layers_exceeded"]
