# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Loading: what is no model, holds pickles, wants to run code or lacks tensors is refused with its own code."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tunesmith.core.errors import TunesmithError
from tunesmith.core.report import collected_warnings
from tunesmith.models.load import inference_dtype, load_model, load_model_config, load_skeleton, resolve_model

CPU = torch.device("cpu")


@pytest.fixture
def model_copy(tiny_llama_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_llama_folder, tmp_path / "model"))


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def code_of(action: Callable[[], object]) -> str:
    with pytest.raises(TunesmithError) as caught:
        action()
    (problem,) = caught.value.problems
    assert problem.message and problem.remedy
    return problem.code


def load(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    return load_model(folder, dtype=dtype, device=CPU)


def test_loads_every_tensor_in_the_asked_dtype(tiny_llama_folder: Path) -> None:
    model = load(tiny_llama_folder)
    stored = load_file(tiny_llama_folder / "model.safetensors")
    for name, values in stored.items():
        assert torch.equal(model.state_dict()[name], values), name
    assert load(tiny_llama_folder, torch.bfloat16).dtype == torch.bfloat16
    assert collected_warnings() == ()


def test_skeleton_has_the_modules_and_no_weights(tiny_llama_folder: Path) -> None:
    skeleton = load_skeleton(tiny_llama_folder)
    assert [n for n, _ in skeleton.named_modules()] == [n for n, _ in load(tiny_llama_folder).named_modules()]
    assert all(parameter.is_meta for parameter in skeleton.parameters())


def test_paths_that_are_no_models(tmp_path: Path, tiny_llama_folder: Path) -> None:
    assert resolve_model(str(tiny_llama_folder)) == tiny_llama_folder
    (tmp_path / "file.gguf").write_bytes(b"x")
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}", encoding="utf-8")
    assert code_of(lambda: resolve_model(str(tmp_path / "nothing"))) == "model.path_missing"
    assert code_of(lambda: resolve_model("./owner/name")) == "model.path_missing"
    assert code_of(lambda: resolve_model("smollm2-135")) == "model.path_missing"
    assert code_of(lambda: resolve_model(str(tmp_path / "file.gguf"))) == "model.folder_invalid"
    assert code_of(lambda: load(tmp_path)) == "model.folder_invalid"
    with pytest.raises(TunesmithError, match="holds an adapter"):
        load(tmp_path / "adapter")


def test_hub_id_without_network(tmp_path: Path) -> None:
    with pytest.raises(TunesmithError) as caught:
        resolve_model("some-owner/some-model", tmp_path)
    assert caught.value.problems[0].code == "model.hub_unreachable"
    assert caught.value.exit_code == 4
    message = caught.value.problems[0].message
    assert message.endswith(").") and "Got:" not in message and not message.endswith("..)")


def test_hub_id_in_the_local_cache_is_used(tmp_path: Path) -> None:
    repository = tmp_path / "models--owner--name"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}", encoding="utf-8")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40, encoding="utf-8")
    assert resolve_model("owner/name", tmp_path) == snapshot


def test_only_pickles_are_a_security_refusal(model_copy: Path) -> None:
    (model_copy / "model.safetensors").rename(model_copy / "pytorch_model.bin")
    with pytest.raises(TunesmithError) as caught:
        load(model_copy)
    assert caught.value.problems[0].code == "security.pickle_refused"
    assert caught.value.exit_code == 7


def test_pickles_beside_safetensors_are_never_read(model_copy: Path) -> None:
    (model_copy / "pytorch_model.bin").write_bytes(b"not a pickle")
    assert load(model_copy).config.hidden_size == 64


@pytest.mark.parametrize("nested", [False, True])
def test_code_in_the_folder_is_refused_and_not_run(model_copy: Path, nested: bool) -> None:
    canary = model_copy / "canary"
    (model_copy / "modeling_x.py").write_text(f"open({str(canary)!r}, 'w').close()", encoding="utf-8")
    auto_map = {"auto_map": {"AutoModelForCausalLM": "modeling_x.Model", "AutoConfig": "modeling_x.Config"}}
    edit_config(model_copy, **({"text_config": auto_map} if nested else auto_map), trust_remote_code=True)
    with pytest.raises(TunesmithError) as caught:
        load(model_copy)
    assert caught.value.problems[0].code == "security.remote_code_refused"
    assert caught.value.exit_code == 7
    assert not canary.exists()


def test_code_of_another_repository_is_refused(model_copy: Path) -> None:
    edit_config(model_copy, auto_map={"AutoModelForCausalLM": "owner/other--modeling.Model"})
    assert code_of(lambda: load(model_copy)) == "security.remote_code_refused"


def test_auto_map_whose_code_is_absent_is_harmless(model_copy: Path) -> None:
    edit_config(model_copy, auto_map={"AutoModelForCausalLM": "modeling_x.Model"})
    assert type(load(model_copy)).__name__ == "LlamaForCausalLM"


def test_weights_that_do_not_fit(model_copy: Path) -> None:
    edit_weights(model_copy, lambda tensors: tensors.update({"extra": torch.zeros(2)}))
    load(model_copy)
    assert [problem.code for problem in collected_warnings()] == ["model.weights_unused"]
    name = "model.layers.1.mlp.up_proj.weight"
    edit_weights(model_copy, lambda tensors: tensors.update({name: torch.zeros(2, 2)}))
    assert code_of(lambda: load(model_copy)) == "model.weights_incomplete"
    edit_weights(model_copy, lambda tensors: tensors.__delitem__(name))
    assert code_of(lambda: load(model_copy)) == "model.weights_incomplete"


def test_cut_and_missing_files(model_copy: Path) -> None:
    weights = model_copy / "model.safetensors"
    whole = weights.read_bytes()
    for kept in (len(whole) - 100, 20, 4, 0):
        weights.write_bytes(whole[:kept])
        assert code_of(lambda: load(model_copy)) == "model.weights_malformed", kept
    weights.unlink()
    assert code_of(lambda: load(model_copy)) == "model.weights_missing"
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (model_copy / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert code_of(lambda: load(model_copy)) == "model.weights_missing"


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "no-such-type"},
        {"model_type": 5},
        {"model_type": "t5"},
        {"num_attention_heads": 5},
        {"hidden_size": "x"},
    ],
)
def test_configurations_that_describe_no_causal_model(model_copy: Path, changes: dict[str, Any]) -> None:
    edit_config(model_copy, **changes)
    assert code_of(lambda: load(model_copy)) == "model.config_malformed"


def test_config_that_is_not_json(model_copy: Path) -> None:
    (model_copy / "config.json").write_text("{", encoding="utf-8")
    assert code_of(lambda: load_model_config(model_copy)) == "model.config_malformed"


def test_quantised_folder_is_refused_by_name(model_copy: Path) -> None:
    edit_config(model_copy, quantization_config={"quant_method": "spqr", "bits": 3})
    assert code_of(lambda: load(model_copy)) == "model.quantization_unsupported"


def test_inference_dtype(tiny_llama_folder: Path) -> None:
    config = load_model_config(tiny_llama_folder)
    assert inference_dtype("auto", config) == torch.bfloat16
    assert inference_dtype("float32", config) == torch.float32
    config.dtype = torch.float16
    assert inference_dtype("auto", config) == torch.float16
