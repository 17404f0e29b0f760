# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Every method that quantises while loading and runs here: real steps, evaluation between them, saving, merging."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.unit.models.tiny_models import VOCABULARY, tiny_model
from tunesmith.core.errors import TunesmithError
from tunesmith.models.coverage import coverage
from tunesmith.models.dequantise import dequantise, merge_dequantised, widen
from tunesmith.models.load import load_model
from tunesmith.models.merge import merge_adapter
from tunesmith.models.quantizers.base import Quantization, full_weight_OI, is_quantised, quantised_layers, quantizers
from tunesmith.models.stored_size import num_bytes, num_values
from tunesmith.models.tuners.base import Tuner, trained_parameters, tuners

IDS = torch.randint(3, VOCABULARY, (2, 12), generator=torch.Generator().manual_seed(0))
WAYS = {
    "nf4": Quantization(method="bnb", bits=4),
    "nf4_single": Quantization(method="bnb", bits=4, is_double=False),
    "fp4": Quantization(method="bnb", bits=4, kind="fp4"),
    "bnb8": Quantization(method="bnb", bits=8),
    "torchao8": Quantization(method="torchao", bits=8),
    "torchao4": Quantization(method="torchao", bits=4),
    "hqq4": Quantization(method="hqq", bits=4),
    "hqq8": Quantization(method="hqq", bits=8),
}
TUNERS: dict[str, dict[str, Any]] = {
    "lora": {},
    "oft": {"oft_block_size": 8},
    "dora": {"use_dora": True},
    "pissa": {"pissa_init": True},
}
# Every tuner on one way of each kind of layer, LoRA on all.
PAIRS = [(way, name) for way in WAYS for name in TUNERS if name == "lora" or way in ("nf4", "bnb8", "torchao8", "hqq4")]
Load = Callable[..., Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("plain")
    tiny_model("llama", hidden_size=64, intermediate_size=128, head_dim=16).save_pretrained(place)
    return place


@pytest.fixture
def load(folder: Path) -> Load:
    def load_quantised(way: str, dtype: torch.dtype = torch.float32) -> Any:
        wanted = WAYS[way]
        if find_spec(quantizers.get(wanted.method).package) is None:
            pytest.skip(f"{wanted.method} is not installed")
        return load_model(folder, dtype=dtype, device=torch.device("cpu"), quantization=wanted)

    return load_quantised


def build(name: str) -> Tuner:
    keys = dict(TUNERS[name])
    kind = tuners.get({"dora": "lora", "pissa": "lora"}.get(name, name))
    return kind(kind.Params.model_validate(keys), seed=1)


def losses(model: nn.Module, steps: int, *, evaluates: bool) -> list[float]:
    optimizer = torch.optim.SGD([weight for _, weight in trained_parameters(model)], lr=0.5)
    found = []
    for _ in range(steps):
        loss = model.train()(input_ids=IDS, labels=IDS).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        found.append(loss.item())
        if evaluates:
            logits(model)
    return found


@torch.no_grad()
def logits(model: nn.Module) -> Tensor:
    found: Tensor = model.eval()(input_ids=IDS, use_cache=False).logits
    return found


@pytest.mark.parametrize("way", WAYS)
def test_dequantised_weights_are_those_of_the_forward_pass(way: str, load: Load) -> None:
    model = load(way)
    layers = list(quantised_layers(model))
    assert len(layers) == 3 * 7 and all(quantizer.owns(module) for _, module, quantizer in layers)
    assert type(model.get_output_embeddings()) is nn.Linear
    inputs = torch.randn(5, 64, generator=torch.Generator().manual_seed(1))
    layer = model.model.layers[0].self_attn.q_proj
    expected = inputs @ full_weight_OI(layer).T
    for is_training in (True, False, True):
        given = inputs.clone().requires_grad_(is_training)
        found = layer.train(is_training)(given)
        assert (found - expected).abs().max() < 1e-5
        if is_training:
            found.sum().backward()
            assert given.grad is not None
            assert (given.grad - full_weight_OI(layer).sum(0)).abs().max() < 1e-5


@pytest.mark.parametrize("way", WAYS)
def test_evaluation_between_steps_changes_nothing(way: str, load: Load) -> None:
    """4-bit layers of bitsandbytes pack their weights anew in evaluation on some CPUs, and then train wrongly."""
    runs = []
    for evaluates in (False, True):
        model = build("lora").attach(load(way))
        runs.append(losses(model, 4, evaluates=evaluates))
    assert runs[0] == runs[1] and runs[0][-1] < runs[0][0]


@pytest.mark.parametrize(("way", "name"), PAIRS)
def test_adapters_train_save_load_and_merge(way: str, name: str, load: Load, tmp_path: Path) -> None:
    tuner, base = build(name), load(way)
    before = logits(base)
    model = tuner.attach(base)
    assert (logits(model) - before).abs().max() < 1e-4  # starts as the identity
    losses(model, 3, evaluates=True)
    trained = logits(model)
    assert (trained - before).abs().max() > 1e-3
    tuner.save(model, tmp_path)
    loaded = build(name).load(load(way), tmp_path, is_trainable=False)
    assert torch.equal(logits(loaded), trained) or (name == "pissa" and (logits(loaded) - trained).abs().max() < 1e-5)
    merged = merge_dequantised(build(name), model, dequantise(load(way)))
    assert not is_quantised(merged) and (logits(merged) - trained).abs().max() < 1e-4
    merged.save_pretrained(tmp_path / "merged")
    plain = load_model(tmp_path / "merged", dtype=torch.float32, device=torch.device("cpu"))
    assert torch.equal(logits(plain), logits(merged))


@pytest.mark.parametrize("way", ["nf4", "bnb8", "torchao8", "torchao4", "hqq4"])
def test_short_formats_widen_to_float32(way: str, load: Load) -> None:
    """A base quantised from bfloat16 computes in float32 with the weights that a merge writes."""
    wide = logits(widen(load(way, torch.bfloat16)))
    plain = logits(dequantise(load(way, torch.bfloat16)))
    assert wide.dtype == torch.float32 and (wide - plain).abs().max() < 1e-4


def test_merging_into_quantised_weights_is_refused(load: Load) -> None:
    with pytest.raises(TunesmithError) as caught:
        merge_adapter(build("lora").attach(load("nf4")))
    assert caught.value.problems[0].code == "model.quantization_not_trainable"


def test_weights_and_bytes_are_counted_as_they_are(load: Load) -> None:
    plain = coverage(tiny_model("llama", hidden_size=64, intermediate_size=128, head_dim=16).requires_grad_(False))
    for way in ("nf4", "bnb8", "torchao8"):
        assert coverage(load(way)).totals == plain.totals
    weight = load("nf4_single").model.layers[0].mlp.up_proj.weight
    assert num_values(weight) == 128 * 64
    assert num_bytes(weight) == 128 * 64 // 2 + 4 * 128 * 64 // 64  # two a byte, one float32 scale a block of 64
    assert num_bytes(load("torchao8").model.layers[0].mlp.up_proj.weight) == 128 * 64 + 5 * 128  # scale, zero point


def test_a_biased_model_keeps_its_biases(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    pytest.importorskip("torchao")
    tiny_model("llama_biased").save_pretrained(tmp_path)
    for way in ("nf4", "torchao8"):
        model = load_model(tmp_path, dtype=torch.float32, device=torch.device("cpu"), quantization=WAYS[way])
        expected = logits(model)
        assert (logits(dequantise(model)) - expected).abs().max() < 1e-4


def test_layers_of_another_kind_come_back_as_they_were(tmp_path: Path) -> None:
    """GPT-2's weights lie the other way round; bitsandbytes turns them, a merged model must turn them back."""
    pytest.importorskip("bitsandbytes")
    sizes: dict[str, Any] = {"n_embd": 32, "n_head": 4, "n_layer": 2, "vocab_size": VOCABULARY}
    tiny_model("gpt2", attention="sdpa", **sizes).save_pretrained(tmp_path)
    cpu = torch.device("cpu")
    model = load_model(tmp_path, dtype=torch.float32, device=cpu, attention="sdpa", quantization=WAYS["nf4"])
    expected = logits(model)
    dequantise(model).save_pretrained(tmp_path / "plain")
    plain = load_model(tmp_path / "plain", dtype=torch.float32, device=cpu, attention="sdpa")
    assert (logits(plain) - expected).abs().max() < 1e-4


@pytest.mark.parametrize("way", ["nf4", "bnb8", "torchao8", "torchao4"])
def test_folders_with_quantised_weights_are_read(way: str, load: Load, tmp_path: Path) -> None:
    saved = load(way)
    expected = logits(saved)
    saved.save_pretrained(tmp_path)
    model = load_model(tmp_path, dtype=torch.float32, device=torch.device("cpu"))
    assert is_quantised(model) and torch.equal(logits(model), expected)
    tuned = build("lora").attach(model)
    assert losses(tuned, 3, evaluates=True) == losses(build("lora").attach(load(way)), 3, evaluates=False)
