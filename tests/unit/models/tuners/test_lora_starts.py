# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Starts of LoRA: identity whatever the start, saved for the original base model, restored exactly, merged exactly."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from tests.unit.models.tiny_models import tiny_model
from tests.unit.models.tuners.test_lora import IDS, code_of, logits, shaken, tuner
from tunesmith.config.load import load_config
from tunesmith.core.errors import TunesmithError
from tunesmith.core.report import clear_warnings, collected_warnings
from tunesmith.models.lora_start import StartRule, starting_factors
from tunesmith.models.tuners.base import trained_parameters

STARTS: dict[str, dict[str, Any]] = {
    "pissa": {"pissa_init": True},
    "exact pissa": {"pissa_init": True, "pissa_iter": -1, "use_rslora": True},
    "pissa by its other name": {"init_lora_weights": "pissa", "lora_alpha": 3, "rank_pattern": {"q_proj": 2}},
    "olora": {"init_lora_weights": "olora", "additional_target": "norm"},
    "gaussian": {"init_lora_weights": "gaussian"},
    "orthogonal": {"init_lora_weights": "orthogonal"},
}


def trained(model: Any) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in trained_parameters(model)}


@pytest.mark.parametrize("start", STARTS)
def test_starts_are_the_identity_and_leave_the_base_weights(start: str) -> None:
    made = tuner(lora_rank=4, **STARTS[start])
    model: Any = made.attach(tiny_model("llama"))
    plain = dict(tiny_model("llama").named_parameters())
    assert (logits(model) - logits(tiny_model("llama"))).abs().max() < 1e-4
    base = {name.replace(".base_layer", ""): value for name, value in model.get_base_model().named_parameters()}
    assert all(torch.equal(base[name], plain[name]) for name in plain if name in base)
    assert not [name for name, _ in trained_parameters(model) if ".start." in name]


@pytest.mark.parametrize("start", STARTS)
def test_what_is_saved_loads_on_the_original_base_and_merges(start: str, tmp_path: Path) -> None:
    made = tuner(lora_rank=4, **STARTS[start])
    model = shaken(made.attach(tiny_model("llama")))
    expected = logits(model)
    made.save(model, tmp_path)
    for is_trainable in (False, True):
        loaded = tuner().load(tiny_model("llama"), tmp_path, is_trainable=is_trainable)
        assert (logits(loaded) - expected).abs().max() < 2e-5
    assert (logits(made.merge(loaded)) - expected).abs().max() < 5e-5
    merged: Any = made.merge(model)
    assert (logits(merged) - expected).abs().max() < 5e-5
    assert {name for name, _ in merged.named_parameters()} == {n for n, _ in tiny_model("llama").named_parameters()}


@pytest.mark.parametrize("start", ["pissa", "olora"])
def test_restoring_gives_back_both_halves(start: str, tmp_path: Path) -> None:
    made = tuner(lora_rank=4, **STARTS[start])
    model = shaken(made.attach(tiny_model("llama")))
    made.save(model, tmp_path)
    again = tuner(lora_rank=4, **STARTS[start])
    other = shaken(again.attach(tiny_model("llama")), seed=5)
    again.restore(other, tmp_path)
    assert torch.equal(logits(other), logits(model))
    assert all(torch.equal(value, trained(model)[name]) for name, value in trained(other).items())


def test_the_start_of_a_run_is_seen_again_and_stays_frozen() -> None:
    made = tuner(**STARTS["pissa"])
    model = made.attach(tiny_model("llama"))
    made.remember_base(model)
    names = [name for name, _ in trained_parameters(model)]
    after = logits(shaken(model))
    with made.base_view(model):
        assert torch.equal(logits(model), logits(tiny_model("llama")))
    assert torch.equal(logits(model), after)
    assert [name for name, _ in trained_parameters(model)] == names


def test_gradients_are_those_of_pissa_in_peft() -> None:
    """PEFT subtracts the start from the base weight instead; the trained matrices must have the same gradients."""
    ours: Any = tuner(lora_rank=4, pissa_init=True, pissa_iter=-1, lora_target="q_proj").attach(tiny_model("llama"))
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj"], init_lora_weights="pissa")
    theirs: Any = get_peft_model(tiny_model("llama"), config)
    for model in (ours, theirs):
        model(input_ids=IDS).logits.square().mean().backward()
    expected = {name: value.grad for name, value in theirs.named_parameters() if value.grad is not None}
    found = {name: value.grad for name, value in ours.named_parameters() if value.grad is not None}
    assert found.keys() == expected.keys()
    assert all((found[name] - expected[name]).abs().max() < 1e-3 * expected[name].abs().max() for name in found)


def test_pissa_takes_the_largest_directions() -> None:
    weight = torch.randn(12, 9, generator=torch.Generator().manual_seed(0))
    left, right = starting_factors(weight, 3, StartRule(kind="pissa", iterations=-1), scale=2.0)
    sizes = torch.linalg.svdvals(weight)
    rest = weight - 2.0 * left @ right
    assert torch.allclose(torch.linalg.svdvals(rest)[:6], sizes[3:9], atol=1e-5)
    torch.manual_seed(0)  # the quick way begins with random directions
    quick, fast = starting_factors(weight, 3, StartRule(kind="pissa", iterations=16), scale=2.0)
    assert torch.allclose(quick @ fast, left @ right, atol=2e-2)


def test_starts_that_cannot_be_taken_are_refused() -> None:
    for keys in ({"lora_target": "embed_tokens"}, {"lora_target": "k_proj", "lora_rank": 17}):
        with pytest.raises(TunesmithError) as caught:
            tuner(pissa_init=True, **keys).attach(tiny_model("llama"))
        assert code_of(caught) == "tuner.start_impossible"


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"pissa_init": True, "init_lora_weights": "olora"}, "config.keys_conflict"),
        ({"pissa_init": True, "use_dora": True}, "config.keys_conflict"),
        ({"init_lora_weights": "corda", "use_dora": True}, "config.keys_conflict"),
        ({"init_lora_weights": "loftq"}, "tuner.start_unsupported"),
        ({"init_weights": "loftq"}, "tuner.start_unsupported"),
        ({"loftq_init": True}, "config.key_gone"),
        ({"layer_replication": [[0, 2], [1, 3]]}, "config.key_foreign"),
    ],
)
def test_keys_that_exclude_each_other(keys: dict[str, Any], code: str) -> None:
    run = {"model_name_or_path": "smollm2-135m", "dataset": "rows.jsonl", "output_dir": "out", **keys}
    with pytest.raises(TunesmithError) as caught:
        load_config(run, command="train")
    assert code_of(caught) == code


@pytest.mark.parametrize(
    ("word", "keys"),
    [
        ("lora-ga", {"init_lora_weights": "lora_ga"}),
        ("eva", {"init_lora_weights": "eva"}),
        ("pissa_niter_4", {"init_lora_weights": "pissa", "pissa_iter": 4}),
        ("true", {"init_lora_weights": "default"}),
    ],
)
def test_words_of_ms_swift(word: str, keys: dict[str, Any]) -> None:
    run = {"model_name_or_path": "smollm2-135m", "dataset": "rows.jsonl", "output_dir": "out", "init_weights": word}
    flat = load_config(run, command="train").flat
    assert {key: flat[key] for key in keys} == keys


def test_pissa_convert_is_taken_as_said() -> None:
    run = {"model_name_or_path": "smollm2-135m", "dataset": "rows.jsonl", "output_dir": "out", "pissa_init": True}
    assert load_config({**run, "pissa_convert": True}, command="train").flat["pissa_init"] is True


def test_patterns_set_rank_and_scale_of_some_modules(tmp_path: Path) -> None:
    made = tuner(lora_rank=4, rank_pattern={"q_proj": 2, r"layers\.0\.mlp\.up_proj": 6}, alpha_pattern={"v_proj": 3})
    model: Any = shaken(made.attach(tiny_model("llama")))
    first = model.get_base_model().model.layers[0]
    scales = [layer.scaling["default"] for layer in (first.self_attn.q_proj, first.mlp.up_proj, first.self_attn.v_proj)]
    assert scales == [2.0, 2.0, 0.75]
    assert first.self_attn.q_proj.r["default"] == 2 and first.mlp.up_proj.r["default"] == 6
    made.save(model, tmp_path)
    loaded = tuner().load(tiny_model("llama"), tmp_path, is_trainable=False)
    assert torch.equal(logits(loaded), logits(model))
    for key in ("rank_pattern", "alpha_pattern"):
        with pytest.raises(TunesmithError) as caught:
            tuner(**{key: {"q_prj": 2}}).attach(tiny_model("llama"))
        assert code_of(caught) == "tuner.target_unknown" and caught.value.problems[0].where.key == key


def test_fused_experts_that_stay_frozen_are_told() -> None:
    clear_warnings()
    tuner().attach(tiny_model("qwen3_moe", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16))
    assert "tuner.experts_frozen" in [problem.code for problem in collected_warnings()]
    clear_warnings()
    tuner().attach(tiny_model("llama"))
    assert not collected_warnings()
