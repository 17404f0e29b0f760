# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""`lora_target: all` reaches linear layers and nothing that only looks like one."""

import inspect
import re
import sys

import pytest
import torch

from tests.unit.models.attention.random_families import random_model
from tests.unit.models.tiny_tuners import build, train
from tunesmith.core.errors import TunesmithError
from tunesmith.models.targets import all_linear_names
from tunesmith.models.tuners.base import trained_parameters


def test_layers_of_numbered_lists_are_named_with_their_list() -> None:
    """A bare number would name decoder layers as well, on which no adapter can be put."""
    model = random_model("gemma3n_text", attention="eager")
    names = all_linear_names(model)
    assert "altup_projections.0" in names and not [name for name in names if name.isdecimal()]
    adapted = {name for name, _ in trained_parameters(build("lora").attach(model))}
    assert any("altup_projections.0" in name for name in adapted)


@pytest.mark.parametrize(("model_type", "router"), [("llama4_text", "router"), ("phimoe", "router")])
def test_routers_that_give_more_than_a_product_stay(model_type: str, router: str) -> None:
    model = random_model(model_type, attention="eager")
    assert router in {name.split(".")[-1] for name, _ in model.named_modules()}
    assert router not in all_linear_names(model) and "q_proj" in all_linear_names(model)
    wrapped = build("lora").attach(model)
    assert torch.isfinite(wrapped(input_ids=torch.arange(3, 20)[None]).logits).all()


@pytest.mark.parametrize(
    "model_type", ["mamba", "falcon_mamba", "jamba", "deepseek_v32", "qwen4_exp_text", "gemma3n_text"]
)
def test_every_kind_of_layer_that_is_adapted_gets_a_gradient(model_type: str) -> None:
    """A layer whose weight is read past its module, or that only chooses, would be adapted in name only."""
    model = build("lora", lora_rank=2).attach(random_model(model_type, attention=None))
    model(input_ids=torch.arange(3, 20)[None]).logits.log_softmax(-1)[..., 5].sum().backward()
    found: dict[str, bool] = {}
    for name, weight in trained_parameters(model):
        kind = name.partition(".lora_B")[0].rpartition(".")[2]
        if ".lora_B" in name:
            found[kind] = found.get(kind, False) or weight.grad is not None
    assert found and all(found.values()), found


@pytest.mark.parametrize("model_type", ["mamba", "falcon_mamba", "mamba2", "bamba", "granitemoehybrid", "zamba2"])
def test_what_mambas_kernels_read_past_the_module_stays(model_type: str) -> None:
    model = random_model(model_type, attention=None)
    source = inspect.getsource(sys.modules[type(model).__module__])
    read = set(re.findall(r"^ +(?:outproj_weight=)?self\.(\w+_proj)\.weight,$", source, re.MULTILINE))
    assert "out_proj" in read and "in_proj" in all_linear_names(model) and not read & set(all_linear_names(model))


def test_the_same_name_elsewhere_is_an_ordinary_layer() -> None:
    assert "out_proj" in all_linear_names(random_model("qwen3_5_text", attention=None))


def test_layers_that_share_a_weight_are_not_merged() -> None:
    """One weight cannot hold the additions of two layers; the merged model would compute something else."""
    tuner = build("lora", lora_rank=2)
    model = tuner.attach(random_model("zamba2", attention="eager"))
    train(model, 1)
    with pytest.raises(TunesmithError) as caught:
        tuner.merge(model)
    assert caught.value.problems[0].code == "tuner.merge_impossible"
    single = build("lora", lora_rank=2, lora_target=("in_proj",))
    apart = single.attach(random_model("zamba2", attention="eager"))
    train(apart, 1)
    ids = torch.arange(3, 20)[None]
    with torch.no_grad():
        expected = apart(input_ids=ids).logits
        assert (single.merge(apart)(input_ids=ids).logits - expected).abs().max() < 1e-4
