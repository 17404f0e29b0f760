# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Starts that read rows: identity on the untouched base, the published mathematics, saved, merged and repeated."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraGAConfig
from peft.tuners.lora.config import EvaConfig
from peft.tuners.lora.eva import get_eva_state_dict
from peft.tuners.lora.loraga import preprocess_loraga
from torch import Tensor

from tests.unit.models.tiny_models import VOCABULARY, tiny_model
from tests.unit.models.tuners.test_lora import code_of, logits, shaken, tuner
from tests.unit.training.batches import make_row
from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import Batch
from tunesmith.data.collate import collate
from tunesmith.models.learned_start import RANKS, Corda, LoraGa, spread_ranks
from tunesmith.models.lora_fast import use_fast_lora
from tunesmith.models.lora_start import lora_layers
from tunesmith.models.scores import score_batch
from tunesmith.models.tuners.base import trained_parameters

LENGTHS = (12, 7, 20, 9, 15, 11, 18, 16)
STARTS: dict[str, dict[str, Any]] = {
    "eva": {"init_lora_weights": "eva"},
    "eva, scaled by roots": {"init_lora_weights": "eva", "use_rslora": True, "eva_rho": 3.0, "lora_alpha": 5},
    "eva without spreading": {"init_lora_weights": "eva", "eva_rho": 1.0, "rank_pattern": {"q_proj": 2}},
    "eva with dora": {"init_lora_weights": "eva", "use_dora": True},
    "lora_ga": {"init_lora_weights": "lora_ga"},
    "lora_ga, the other way": {"init_lora_weights": "lora_ga", "lora_ga_direction": "ArBr", "lora_ga_scale": "weightS"},
    "lora_ga by lot": {"init_lora_weights": "lora_ga", "lora_ga_direction": "random", "lora_ga_scale": "gd"},
    "corda": {"init_lora_weights": "corda"},
    "exact corda": {"init_lora_weights": "corda", "pissa_iter": -1, "use_rslora": True, "additional_target": "norm"},
}


def batches(layout: Any = "packed") -> Iterator[Batch]:
    rows = [make_row(number, length, vocabulary=VOCABULARY) for number, length in enumerate(LENGTHS)]
    for begin in range(0, len(LENGTHS), 4):
        yield collate(rows[begin : begin + 4], layout=layout, pad_id=0)


def begun(start: str, *, layout: Any = "packed", seed: int = 1, **keys: Any) -> tuple[Any, Any, Any]:
    made = tuner(**{"lora_rank": 4, **STARTS[start], **keys})
    made.seed = seed
    model: Any = made.attach(tiny_model("llama"))
    assert made.start_rows == 128

    def loss(batch: Batch) -> Tensor:
        return -score_batch(model, batch).logps_N.sum()

    choices = made.learn_start(model, batches(layout), loss)
    return made, model, choices


def values(model: Any) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("start", STARTS)
def test_starts_are_the_identity_on_the_untouched_base(start: str) -> None:
    made, model, _ = begun(start)
    plain = dict(tiny_model("llama").named_parameters())
    assert (logits(model) - logits(tiny_model("llama"))).abs().max() < 1e-4
    base = {name.replace(".base_layer", ""): value for name, value in model.get_base_model().named_parameters()}
    assert all(torch.equal(base[name], plain[name]) for name in plain if name in base)
    names = [name for name, _ in trained_parameters(model)]
    assert names and not [name for name in names if ".start." in name]
    assert all(parameter.grad is None for parameter in model.parameters())
    fresh = made.attach(tiny_model("llama"))
    before = {name: value for name, value in fresh.named_parameters() if "lora_A.default" in name}
    assert all(not torch.equal(value, dict(model.named_parameters())[name]) for name, value in before.items())


@pytest.mark.parametrize("start", STARTS)
def test_what_is_saved_loads_on_the_original_base_and_merges(start: str, tmp_path: Path) -> None:
    made, model, _ = begun(start)
    expected = logits(shaken(model))
    made.save(model, tmp_path)
    loaded = tuner().load(tiny_model("llama"), tmp_path, is_trainable=True)
    assert (logits(loaded) - expected).abs().max() < 2e-5
    again = tuner(**STARTS[start])
    again.load(tiny_model("llama"), tmp_path, is_trainable=True)
    assert again.start_rows == 0  # what goes on from an adapter does not begin anew
    made.remember_base(model)
    with made.base_view(model):
        assert torch.equal(logits(model), logits(tiny_model("llama")))
    assert torch.equal(logits(model), expected)
    assert (logits(made.merge(model)) - expected).abs().max() < 5e-5


@pytest.mark.parametrize("start", STARTS)
def test_a_resumed_run_takes_everything_back_without_reading_rows(start: str, tmp_path: Path) -> None:
    made, model, choices = begun(start)
    shaken(model).train()
    made.save(model, tmp_path)
    again = tuner(**{"lora_rank": 4, **STARTS[start]})
    other: Any = again.attach(tiny_model("llama"))
    assert again.repeat_start(other, {"layout": "packed", **choices}) == choices
    held = dict(other.named_parameters())
    again.restore(other, tmp_path)
    assert all(torch.equal(value, values(model)[name]) for name, value in values(other).items())
    assert all(parameter is held[name] for name, parameter in other.named_parameters())
    (tmp_path / "b").mkdir()
    again.save(other, tmp_path / "b")
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / name).read_bytes()


@pytest.mark.parametrize("start", ["eva", "lora_ga by lot", "corda"])
def test_the_same_seed_gives_the_same_start_and_leaves_the_random_state(start: str) -> None:
    state = torch.get_rng_state()
    (_, first, one), (_, again, two) = begun(start), begun(start)
    assert torch.equal(state, torch.get_rng_state()) and one == two
    assert all(torch.equal(value, values(again)[name]) for name, value in values(first).items())


@pytest.mark.parametrize("start", ["eva", "lora_ga", "corda"])
def test_padding_layout_and_short_ways_change_nothing(start: str) -> None:
    _, packed, _ = begun(start)
    _, padded, _ = begun(start, layout="padded")
    made = tuner(lora_rank=4, **STARTS[start])
    fast: Any = made.attach(tiny_model("llama"))
    assert use_fast_lora(fast)
    made.learn_start(fast, batches(), lambda batch: -score_batch(fast, batch).logps_N.sum())
    for other in (padded, fast):
        products = {name: layer.get_delta_weight("default") for name, layer in lora_layers(other)}
        if start == "eva":
            products = {name: layer.lora_A["default"].weight for name, layer in lora_layers(other)}
        for name, layer in lora_layers(packed):
            mine = layer.lora_A["default"].weight if start == "eva" else layer.get_delta_weight("default")
            assert (mine - products[name]).abs().max() < 2e-3 * mine.abs().max(), name


def test_eva_finds_the_directions_of_peft() -> None:
    _, model, _ = begun("eva", eva_rho=1.0, lora_target="q_proj")
    plain = tiny_model("llama")
    config = LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights="eva", eva_config=EvaConfig(rho=1.0))
    rows: list[dict[str, Any]] = []
    for batch in batches("padded"):
        width = batch.input_ids_BT.shape[1]
        mask = torch.zeros(batch.input_ids_BT.numel(), dtype=torch.long)
        mask[batch.source_index_N] = 1
        rows.append({"input_ids": batch.input_ids_BT, "attention_mask": batch.attention_mask_BT})
        rows[-1]["labels"] = torch.where(mask.view(-1, width) == 1, 5, -100)

    def forward(module: Any, inputs: dict[str, Any]) -> None:
        module(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])

    theirs = get_eva_state_dict(plain, rows, config, forward_fn=forward, show_progress_bar=False)
    for name, layer in lora_layers(model):
        mine, other = layer.lora_A["default"].weight, theirs[name.removeprefix("base_model.model.")].float()
        assert (mine[0] @ other[0]).abs() > 0.99, name  # theirs goes on over the rows until it changes no more
        assert torch.linalg.svdvals(mine @ other.T)[:2].min() > 0.9


def test_eva_gives_rank_where_inputs_vary() -> None:
    _, model, choices = begun("eva", eva_rho=3.0)
    layers = dict(lora_layers(model))
    assert sum(choices[RANKS]) == 4 * len(layers) and len(set(choices[RANKS])) > 1 and min(choices[RANKS]) >= 1
    assert max(choices[RANKS]) <= 12
    assert {layer.scaling["default"] for layer in layers.values()} == {2.0}
    spread = spread_ranks({"a": 2, "b": 2, "c": 5}, {"a": [0.5, 0.4, 0.3], "b": [0.9, 0.05, 0.04]})
    assert spread == {"a": 3, "b": 1, "c": 5}


def test_lora_ga_takes_the_gradient_that_full_training_would_have() -> None:
    _, model, _ = begun("lora_ga", lora_target="q_proj", lora_ga_scale="unit")
    plain = tiny_model("llama").eval()
    kind: Any = "lora_ga"
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj"], init_lora_weights=kind)
    config.lora_ga_config = LoraGAConfig(direction="ArB2r", scale="unit")

    def step() -> None:
        for batch in batches():
            (-score_batch(plain, batch).logps_N.sum()).backward()

    preprocess_loraga(plain, config, step)
    theirs: Any = get_peft_model(plain, config)
    for (name, layer), (_, other) in zip(lora_layers(model), lora_layers(theirs), strict=True):
        first, second = layer.lora_A["default"].weight, other.lora_A["default"].weight
        assert torch.linalg.svdvals(first @ second.T).min() > 1 - 1e-3, name
        left = torch.nn.functional.normalize(other.lora_B["default"].weight, dim=0)  # theirs carries singular values
        assert torch.linalg.svdvals(layer.lora_B["default"].weight.T @ left).min() > 1 - 1e-2


def test_sizes_of_lora_ga_are_the_papers() -> None:
    _, model, _ = begun("lora_ga", lora_ga_stable_gamma=4.0)
    for _, layer in lora_layers(model):
        expected = layer.out_features**0.25 / 2.0
        for rows in (layer.lora_A["default"].weight, layer.lora_B["default"].weight.T):
            assert torch.allclose(rows @ rows.T, expected**2 * torch.eye(4), atol=1e-3)
    places = LoraGa(direction="A2rBr", scale="unit", gamma=1.0)._places(3)
    assert places == (slice(0, 3), slice(3, 6))


def test_corda_keeps_what_the_inputs_see() -> None:
    """All directions give the weight back; few of them are closer on these inputs than as many of PiSSA's."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(10, 8, generator=generator)
    inputs = torch.randn(200, 8, generator=generator) * torch.tensor([9.0, 5.0, 1.0, 0.2, 0.1, 0.1, 0.1, 0.1])

    class Layer:
        r, scaling = {"default": 8}, {"default": 2.0}

    layer = Layer()
    corda = Corda(iterations=-1)
    left, right = corda.factors(weight, inputs.T @ inputs, layer)
    assert torch.allclose(2.0 * left @ right, weight, atol=1e-4)
    layer.r["default"] = 2
    left, right = corda.factors(weight, inputs.T @ inputs, layer)
    left_svd, sizes, right_svd = torch.linalg.svd(weight)
    pissa = left_svd[:, :2] * sizes[:2] @ right_svd[:2]
    seen = [((weight - part) @ inputs.T).norm() for part in (2.0 * left @ right, pissa)]
    assert seen[0] < 0.3 * seen[1]


@pytest.mark.parametrize(
    ("start", "keys", "code"),
    [
        ("lora_ga", {"lora_rank": 9, "lora_target": "k_proj"}, "tuner.start_impossible"),
        ("corda", {"lora_rank": 17, "lora_target": "k_proj"}, "tuner.start_impossible"),
        ("eva", {"lora_target": "embed_tokens"}, "tuner.start_impossible"),
    ],
)
def test_what_cannot_begin_so_is_refused(start: str, keys: dict[str, Any], code: str) -> None:
    with pytest.raises(TunesmithError) as caught:
        begun(start, **keys)
    assert code_of(caught) == code


def test_eva_needs_as_many_tokens_as_directions() -> None:
    made = tuner(lora_rank=4, init_lora_weights="eva")
    model: Any = made.attach(tiny_model("llama"))
    few = [collate([make_row(0, 6, vocabulary=VOCABULARY)], layout="packed", pad_id=0)]
    with pytest.raises(TunesmithError) as caught:
        made.learn_start(model, few, lambda batch: score_batch(model, batch).logps_N.sum())
    assert code_of(caught) == "tuner.start_impossible" and "start_rows" in caught.value.problems[0].remedy
