# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Tuners of our own modules: generation with virtual tokens, places, forms, folders, and refusals."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.models.tiny_models import tiny_model
from tests.unit.models.tiny_tuners import IDS, build, logits, train
from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import Sampling
from tunesmith.engines.torch import TorchEngine
from tunesmith.models.module_tuner import ModuleTuner
from tunesmith.models.tuners.base import trained_parameters, tuners

OWN = [name for name in tuners.names() if issubclass(tuners.get(name), ModuleTuner)]


def code_of(caught: pytest.ExceptionInfo[TunesmithError]) -> str:
    return caught.value.problems[0].code


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("family", ["llama", "gemma3_text"])
def test_generation_with_a_cache_equals_reading_everything_anew(name: str, family: str) -> None:
    """Prompts of unlike lengths are padded on the left; the cache holds virtual tokens once."""
    model: Any = build(name).attach(tiny_model(family, sliding_window=64))
    train(model, step_size=2.0)
    prompts = [IDS[0, :7].tolist(), IDS[1, :4].tolist()]
    found = TorchEngine(model, pad_id=0).generate(prompts, Sampling(max_new_tokens=5, stop_ids=()))
    for prompt, completion in zip(prompts, found, strict=True):
        tokens = list(prompt)
        for token, logp in zip(completion.token_ids, completion.logps, strict=True):
            with torch.no_grad():
                last = model(input_ids=torch.tensor([tokens])).logits[0, -1].float().log_softmax(dim=-1)
            assert int(last.argmax()) == token and abs(float(last[token]) - logp) < 1e-4
            tokens.append(token)


@pytest.mark.parametrize("name", OWN)
def test_the_switch_gives_the_base_model_back(name: str) -> None:
    model = build(name).attach(tiny_model("llama"))
    train(model, step_size=2.0)
    tuner: Any = build(name)
    with tuner.switched_off(model):
        assert torch.equal(logits(model), logits(tiny_model("llama")))
    assert not torch.equal(logits(model), logits(tiny_model("llama")))


@pytest.mark.parametrize("kind", ["LoreftIntervention", "NoreftIntervention", "DireftIntervention"])
def test_forms_of_reft_start_as_the_identity_and_train(kind: str) -> None:
    keys: dict[str, Any] = {"reft_intervention_type": kind, "reft_layers": (0, 2)}
    model = build("reft", **keys).attach(tiny_model("llama"))
    assert {weight.split(".")[2] for weight, _ in trained_parameters(model)} == {"0", "2"}
    assert (logits(model) - logits(tiny_model("llama"))).abs().max() < 1e-6
    train(model)
    assert (logits(model) - logits(tiny_model("llama"))).abs().max() > 1e-3


def test_a_bottleneck_follows_the_parts_that_are_named() -> None:
    model = build("adapter", adapter_target="self_attn,mlp").attach(tiny_model("llama"))
    hosts = {weight.split(".")[3] for weight, _ in trained_parameters(model)}
    assert hosts == {"self_attn", "mlp"}


def test_a_folder_rebuilds_the_modules_it_was_saved_with(tmp_path: Path) -> None:
    tuner = build("adapter", adapter_length=5)
    tuner.save(tuner.attach(tiny_model("llama")), tmp_path)
    other = build("adapter", adapter_length=8)
    assert other.saved_keys(tmp_path)["adapter_length"] == 5
    model = other.load(tiny_model("llama"), tmp_path, is_trainable=True)
    assert {tuple(weight.shape) for name, weight in trained_parameters(model) if "down.weight" in name} == {(5, 32)}


def test_one_adapter_is_used_unmerged_and_several_are_refused(tmp_path: Path) -> None:
    tuner = build("reft")
    model = tuner.attach(tiny_model("llama"))
    train(model)
    tuner.save(model, tmp_path)
    used = build("reft").prepare(tiny_model("llama"), [tmp_path], is_trainable=False)
    assert torch.equal(logits(used), logits(model)) and not trained_parameters(used)
    with pytest.raises(TunesmithError) as caught:
        build("reft").prepare(tiny_model("llama"), [tmp_path, tmp_path], is_trainable=False)
    assert code_of(caught) == "tuner.merge_impossible"


@pytest.mark.parametrize(
    ("name", "keys", "family", "key"),
    [
        ("adapter", {"adapter_target": "ffn"}, "llama", "adapter_target"),
        ("adapter", {"adapter_act": "gelo"}, "llama", "adapter_act"),
        ("reft", {"reft_layers": (3,)}, "llama", "reft_layers"),
        ("prefix_tuning", {}, "phi3", "finetuning_type"),
    ],
)
def test_what_a_model_does_not_have_is_refused(name: str, keys: dict[str, Any], family: str, key: str) -> None:
    with pytest.raises(TunesmithError) as caught:
        build(name, **keys).attach(tiny_model(family))
    assert code_of(caught) == "tuner.module_unknown" and caught.value.problems[0].where.key == key


def test_another_kind_and_damaged_keys_are_refused(tmp_path: Path) -> None:
    tuner = build("reft")
    tuner.save(tuner.attach(tiny_model("llama")), tmp_path)
    with pytest.raises(TunesmithError) as caught:
        build("adapter").load(tiny_model("llama"), tmp_path, is_trainable=False)
    assert code_of(caught) == "tuner.adapter_unsupported"
    path = tmp_path / "adapter_config.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"reft_rank": 4', '"reft_rank": 0'), encoding="utf-8")
    with pytest.raises(TunesmithError) as caught:
        tuner.saved_keys(tmp_path)
    assert code_of(caught) == "tuner.adapter_unsupported"
