# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""LoRA's keys: targets that match nothing are refused, adapters merge and continue in order, variants merge exactly."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.unit.models.tiny_models import VOCABULARY, tiny_model
from tunesmith.core.errors import TunesmithError
from tunesmith.models.coverage import coverage
from tunesmith.models.load import load_model
from tunesmith.models.saved_weights import save_whole_model
from tunesmith.models.targets import resolve_targets as targets_of
from tunesmith.models.tuners.base import trained_parameters
from tunesmith.models.tuners.lora import LoraParams, LoraTuner

IDS = torch.randint(3, VOCABULARY, (2, 11), generator=torch.Generator().manual_seed(0))
LINEAR = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]


def resolve_targets(model: Any, wanted: list[str]) -> list[str] | str:
    return targets_of(model, wanted, key="lora_target")


def tuner(**keys: Any) -> LoraTuner:
    return LoraTuner(LoraParams(**keys), seed=1)


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        result: Tensor = model(input_ids=IDS).logits
    return result


def shaken(model: Any, seed: int = 0) -> Any:
    """Give every trained weight a random change, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in trained_parameters(model):
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model


def saved_adapter(folder: Path, model: Any = None, *, seed: int = 0, **keys: Any) -> Path:
    folder.mkdir()
    made = tuner(**keys)
    made.save(shaken(made.attach(model or tiny_model("llama")), seed), folder)
    return folder


def code_of(caught: pytest.ExceptionInfo[TunesmithError]) -> str:
    (problem,) = caught.value.problems
    return problem.code


def test_all_means_every_linear_layer_but_the_head() -> None:
    assert resolve_targets(tiny_model("llama"), ["all"]) == LINEAR
    assert resolve_targets(tiny_model("phi3"), ["all"]) == ["down_proj", "gate_up_proj", "o_proj", "qkv_proj"]
    assert "embed_out" not in resolve_targets(tiny_model("gpt_neox"), ["all"])
    assert resolve_targets(tiny_model("gpt2", n_embd=32, n_head=4, n_layer=2), ["all"]) == ["c_attn", "c_fc", "c_proj"]


def test_names_and_expressions_choose_modules() -> None:
    model = tuner(lora_target="q_proj,v_proj").attach(tiny_model("llama"))
    assert {name.split(".")[-4] for name, _ in trained_parameters(model)} == {"q_proj", "v_proj"}
    model = tuner(lora_target=[r".*layers\.[01]\.mlp\..*_proj", "o_proj"]).attach(tiny_model("llama"))
    trained = {name.split("model.layers.")[1].split(".lora")[0] for name, _ in trained_parameters(model)}
    mlp = {f"{layer}.mlp.{part}_proj" for layer in (0, 1) for part in ("gate", "up", "down")}
    assert trained == mlp | {f"{layer}.self_attn.o_proj" for layer in range(3)}


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (["q_prj"], "Did you mean 'q_proj'?"),
        (["q_proj", "no_such"], "down_proj, embed_tokens, gate_proj"),
        (["input_layernorm"], "cannot adapt"),
        (["self_attn"], "cannot adapt"),
        ([r"layers\.9.*"], "matches no module"),
        (["(q_proj"], "no valid regular expression"),
    ],
)
def test_targets_that_match_nothing_are_refused(target: list[str], said: str) -> None:
    with pytest.raises(TunesmithError) as caught:
        tuner(lora_target=target).attach(tiny_model("llama"))
    problem = caught.value.problems[0]
    assert problem.code == "tuner.target_unknown" and problem.where.key == "lora_target" and caught.value.exit_code == 2
    assert said in problem.message + problem.remedy


def test_additional_target_that_matches_nothing_is_refused() -> None:
    with pytest.raises(TunesmithError) as caught:
        tuner(additional_target="embed_token").attach(tiny_model("llama"))
    assert caught.value.problems[0].where.key == "additional_target"


def test_alpha_defaults_to_twice_the_rank() -> None:
    for keys, alpha in (({"lora_rank": 4}, 8), ({"lora_rank": 4, "lora_alpha": 5}, 5)):
        model: Any = tuner(**keys).attach(tiny_model("llama"))
        assert model.peft_config["default"].lora_alpha == alpha


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "one name": {"lora_target": "q_proj"},
    "head": {"lora_target": "lm_head,q_proj"},
    "embedding": {"lora_target": "embed_tokens,q_proj"},
    "both ends": {"lora_target": "embed_tokens,lm_head"},
    "whole head": {"additional_target": "lm_head"},
    "whole embedding": {"additional_target": "embed_tokens"},
    "whole both ends": {"additional_target": "embed_tokens,lm_head"},
    "whole norm": {"additional_target": "norm"},
}


@pytest.mark.parametrize("is_tied", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_save_load_merge_and_reload_exactly(variant: str, is_tied: bool, tmp_path: Path) -> None:
    made = tuner(lora_rank=4, **VARIANTS[variant])
    model = shaken(made.attach(tiny_model("llama", tie_word_embeddings=is_tied)))
    expected = logits(model)
    assert (expected - logits(tiny_model("llama", tie_word_embeddings=is_tied))).abs().max() > 1e-3
    made.save(model, tmp_path)
    loaded = tuner().load(tiny_model("llama", tie_word_embeddings=is_tied), tmp_path, is_trainable=False)
    assert torch.equal(logits(loaded), expected)
    merged = made.merge(loaded)
    assert (logits(merged) - expected).abs().max() < 2e-5
    (tmp_path / "merged").mkdir()
    save_whole_model(merged, tmp_path / "merged")
    reloaded = load_model(tmp_path / "merged", dtype=torch.float32, device=torch.device("cpu"))
    assert (logits(reloaded) - expected).abs().max() < 2e-5


def test_merging_into_bfloat16_rounds_once() -> None:
    """Adding in bfloat16 would round the addition to the base weight's few digits twice."""
    made = tuner(lora_target="q_proj")
    model: Any = shaken(made.attach(tiny_model("llama", dtype=torch.bfloat16)))
    layer = model.get_base_model().model.layers[0].self_attn.q_proj
    exact = layer.base_layer.weight.float() + layer.get_delta_weight("default")
    merged: Any = made.merge(model)
    assert torch.equal(merged.model.layers[0].self_attn.q_proj.weight, exact.bfloat16())


def test_adapters_are_merged_in_order_and_the_last_is_continued(tmp_path: Path) -> None:
    first = saved_adapter(tmp_path / "first", seed=1, lora_target="q_proj,v_proj")
    on_first: Any = tuner().prepare(tiny_model("llama"), [first], is_trainable=False)
    second = saved_adapter(tmp_path / "second", on_first, seed=2, lora_rank=3)
    both = logits(tuner().prepare(tiny_model("llama"), [first, second], is_trainable=False))
    made = tuner()
    continued = made.prepare(tiny_model("llama"), [first, second], is_trainable=True)
    assert (logits(continued) - both).abs().max() < 1e-5
    assert {parameter.shape[0] for name, parameter in trained_parameters(continued) if "lora_A" in name} == {3}
    made.remember_base(continued)
    shaken(continued)
    with made.base_view(continued):
        assert (logits(continued) - both).abs().max() < 1e-5
    fresh = tuner(create_new_adapter=True, lora_rank=5)
    model = fresh.prepare(tiny_model("llama"), [first, second], is_trainable=True)
    assert (logits(model) - both).abs().max() < 1e-5
    assert {parameter.shape[0] for name, parameter in trained_parameters(model) if "lora_A" in name} == {5}
    shaken(model)
    with fresh.base_view(model):
        assert (logits(model) - both).abs().max() < 1e-5


def test_adapter_folders_that_cannot_be_used(tmp_path: Path) -> None:
    def load(folder: Path, model: Any = None) -> str:
        with pytest.raises(TunesmithError) as caught:
            tuner().load(model or tiny_model("llama"), folder, is_trainable=False)
        return code_of(caught)

    def edited(name: str, **changes: Any) -> Path:
        folder = saved_adapter(tmp_path / name)
        path = folder / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")
        return folder

    assert load(tmp_path / "nothing") == "tuner.adapter_missing"
    assert load(tmp_path) == "tuner.adapter_missing"
    assert load(edited("bone", peft_type="BONE")) == "tuner.adapter_unsupported"
    assert load(edited("replicated", layer_replication=[[0, 2], [1, 3]])) == "tuner.adapter_unsupported"
    assert load(edited("imports", megatron_config={"x": 1}, megatron_core="os")) == "tuner.adapter_unsupported"
    assert load(edited("pissa", init_lora_weights="pissa")) == "tuner.adapter_unsupported"
    assert load(edited("newer", key_of_tomorrow="on")) == "tuner.adapter_unsupported"
    assert load(edited("wider", r=16)) == "tuner.adapter_mismatch"
    assert load(edited("more", target_modules=[*LINEAR, "lm_head"])) == "tuner.adapter_mismatch"
    assert load(edited("fewer", target_modules=["q_proj"])) == "tuner.adapter_mismatch"
    assert load(saved_adapter(tmp_path / "whole"), tiny_model("llama", hidden_size=64)) == "tuner.adapter_mismatch"
    broken = saved_adapter(tmp_path / "broken")
    (broken / "adapter_config.json").write_text("[]", encoding="utf-8")
    assert load(broken) == "tuner.adapter_unsupported"
    pickled = saved_adapter(tmp_path / "pickled")
    (pickled / "adapter_model.safetensors").rename(pickled / "adapter_model.bin")
    assert load(pickled) == "security.pickle_refused"
    cut = saved_adapter(tmp_path / "cut") / "adapter_model.safetensors"
    cut.write_bytes(cut.read_bytes()[:-8])
    assert load(cut.parent) == "model.weights_malformed"


def test_adapter_that_is_not_finite_is_neither_loaded_nor_merged(tmp_path: Path) -> None:
    folder = saved_adapter(tmp_path / "adapter")
    tensors = load_file(folder / "adapter_model.safetensors")
    tensors[sorted(tensors)[3]].view(-1)[0] = float("nan")
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TunesmithError) as caught:
        tuner().load(tiny_model("llama"), folder, is_trainable=True)
    assert code_of(caught) == "model.weights_not_finite" and caught.value.exit_code == 6
    made = tuner()
    model: Any = made.attach(tiny_model("llama"))
    with torch.no_grad():
        trained_parameters(model)[0][1].view(-1)[0] = float("inf")
    with pytest.raises(TunesmithError) as caught:
        made.merge(model)
    assert code_of(caught) == "model.weights_not_finite"


def test_coverage_tells_adapted_from_frozen_and_trained() -> None:
    model = tuner(lora_rank=2, lora_target="q_proj", additional_target="norm").attach(tiny_model("llama"))
    states = {row.name: row.state for row in coverage(model).rows if "lora_" not in row.name}
    assert states["model.layers.*.self_attn.q_proj.weight"] == "adapted"
    assert states["model.layers.*.self_attn.k_proj.weight"] == "frozen"
    adapter = [row for row in coverage(model).rows if "lora_" in row.name]
    assert [(row.name, row.tensors, row.parameters, row.bytes) for row in adapter] == [
        ("model.layers.*.self_attn.q_proj.lora_A.weight", 3, 3 * 2 * 32, 3 * 2 * 32 * 4),
        ("model.layers.*.self_attn.q_proj.lora_B.weight", 3, 3 * 2 * 32, 3 * 2 * 32 * 4),
    ]
    assert all(row.state == "trained" for row in adapter)
    assert {row.state for row in coverage(model).rows if row.name == "model.norm.weight"} == {"trained", "frozen"}
