# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The LoRA layer in one function equals PEFT's: values, gradients, and every case that it leaves to PEFT."""

from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.layer import Linear, ParamWrapper
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from tests.unit.models.quantizers.test_methods import WAYS
from tests.unit.models.tiny_models import tiny_model
from tunesmith.models.load import load_model
from tunesmith.models.lora_fast import FastLoraLinear, use_fast_lora
from tunesmith.models.qat import prepare_qat
from tunesmith.models.quantizers.base import is_quantised, quantizers
from tunesmith.models.tuners.base import tuners

SIZES: dict[str, Any] = {
    "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip
PLAIN: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"}


def adapted(kind: str = "llama", **settings: Any) -> PeftModel:
    """Build a tiny adapted model whose adapter has an effect; qwen2's projections have biases."""
    torch.manual_seed(0)
    base = LlamaForCausalLM(LlamaConfig(**SIZES)) if kind == "llama" else Qwen2ForCausalLM(Qwen2Config(**SIZES))
    model = get_peft_model(base, LoraConfig(**{**PLAIN, **settings}))
    assert isinstance(model, PeftModel)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name or name.endswith("bias"):
                weight.normal_(std=0.1)
    return model


def step(model: nn.Module) -> tuple[Tensor, dict[str, Tensor]]:
    """Give logits and the gradients of all trained weights."""
    torch.manual_seed(1)
    ids = torch.arange(14).reshape(2, 7)
    logits: Tensor = model(input_ids=ids).logits
    logits.float().pow(2).mean().backward()
    return logits, {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


def assert_same_step(one: nn.Module, other: nn.Module, tolerance: float) -> None:
    """Compare two models' steps."""
    (logits, gradients), (expected, wanted) = step(one), step(other)
    torch.testing.assert_close(logits, expected, rtol=tolerance, atol=tolerance)
    assert gradients.keys() == wanted.keys() and gradients
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, wanted[name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}, {"rank_pattern": {"q_proj": 2}}])
def test_values_and_gradients_equal_pefts(kind: str, settings: dict[str, Any]) -> None:
    model = adapted(kind, **settings)
    plain = deepcopy(model)
    assert use_fast_lora(model) == 14
    assert_same_step(model, plain, 1e-6)


def test_autocast_computes_in_its_format() -> None:
    model = adapted()
    plain = deepcopy(model)
    use_fast_lora(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_same_step(model, plain, 3e-2)


@pytest.mark.parametrize("settings", [{"lora_dropout": 0.5}, {"use_dora": True}, {"lora_bias": True}])
def test_what_is_not_covered_takes_pefts_way(settings: dict[str, Any]) -> None:
    model = adapted(**settings)
    plain = deepcopy(model)
    use_fast_lora(model)
    assert_same_step(model, plain, 0.0)


def test_switched_off_merged_and_second_adapters_take_pefts_way() -> None:
    model = adapted()
    plain = deepcopy(model)
    use_fast_lora(model)
    ids = torch.arange(7)[None]
    with model.disable_adapter(), plain.disable_adapter():
        assert torch.equal(model(input_ids=ids).logits, plain(input_ids=ids).logits)
    tuners: list[Any] = [model, plain]
    for one in tuners:
        one.merge_adapter()
    assert torch.equal(model(input_ids=ids).logits, plain(input_ids=ids).logits)
    for one in tuners:
        one.unmerge_adapter()
        one.add_adapter("second", LoraConfig(**PLAIN))
        one.base_model.set_adapter(["default", "second"])
    assert torch.equal(model(input_ids=ids).logits, plain(input_ids=ids).logits)


def test_float32_adapters_on_a_short_base_without_autocast_take_pefts_way() -> None:
    model = adapted()
    for name, weight in model.named_parameters():
        weight.data = weight.data if "lora_" in name else weight.data.bfloat16()
    plain = deepcopy(model)
    use_fast_lora(model)
    assert_same_step(model, plain, 0.0)


def test_merging_gives_the_plain_model() -> None:
    model = adapted()
    use_fast_lora(model)
    ids = torch.arange(7)[None]
    expected = model(input_ids=ids).logits
    merged: Any = model.merge_and_unload()
    assert not any(isinstance(module, FastLoraLinear) for module in merged.modules())
    torch.testing.assert_close(merged(input_ids=ids).logits, expected, rtol=1e-5, atol=1e-5)


def test_hooked_and_parametrised_bases_are_left_to_peft() -> None:
    model: Any = adapted()
    layers = [module for module in model.modules() if type(module) is Linear]
    layers[0].base_layer.register_forward_hook(lambda module, inputs, output: 2 * output)
    register_parametrization(layers[1].base_layer, "weight", nn.Tanh())
    plain = deepcopy(model)
    assert use_fast_lora(model) == 12
    assert_same_step(model, plain, 1e-6)


def test_added_weights_of_experts_are_left_to_peft() -> None:
    model = tiny_model("qwen3_moe")
    settings: dict[str, Any] = {"target_modules": [], "target_parameters": ["mlp.experts.down_proj"]}
    adapted_model: Any = get_peft_model(model, LoraConfig(**settings))
    assert any(isinstance(module, ParamWrapper) for module in adapted_model.modules())
    assert use_fast_lora(adapted_model) == 0


@pytest.mark.parametrize("way", sorted(WAYS))
def test_quantised_layers_are_left_to_peft(way: str, tmp_path: Path) -> None:
    if find_spec(quantizers.get(WAYS[way].method).package) is None:
        pytest.skip(f"{WAYS[way].method} is not installed")
    tiny_model("llama", hidden_size=64, intermediate_size=128, head_dim=16).save_pretrained(tmp_path)
    base = load_model(tmp_path, dtype=torch.float32, device=torch.device("cpu"), quantization=WAYS[way])
    kind = tuners.get("lora")
    model = kind(kind.Params.model_validate({})).attach(base)
    assert is_quantised(model) and use_fast_lora(model) == 0


@pytest.mark.parametrize("qat", ["int8", "int4"])
def test_rounding_bases_are_left_to_peft(qat: str) -> None:
    pytest.importorskip("torchao")
    model: Any = tiny_model("llama", hidden_size=64, intermediate_size=128, head_dim=16)
    prepare_qat(model, qat)
    adapted_model = get_peft_model(model, LoraConfig(**PLAIN))
    assert use_fast_lora(adapted_model) == 0
