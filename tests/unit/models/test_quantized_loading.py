# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Which quantisation a run gets: by keys, by the record beside an adapter, by the folder; and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.unit.models.quantizers.test_methods import build, logits, losses
from tests.unit.models.tiny_models import tiny_model
from tunesmith.config.load import load_config
from tunesmith.core.errors import TunesmithError
from tunesmith.core.report import collected_warnings
from tunesmith.models.load import load_model
from tunesmith.models.quantized_loading import (
    asked_quantization,
    chosen_quantization,
    look_at_quantization,
    read_base_record,
    trained_quantization,
    write_base_record,
)
from tunesmith.models.quantizers.base import Quantization, is_quantised, quantizers
from tunesmith.models.saved_weights import save_whole_model

CPU = torch.device("cpu")
NF4 = Quantization(method="bnb", bits=4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "model"
    tiny_model("llama", hidden_size=256, intermediate_size=384, head_dim=64).save_pretrained(place)
    return place


def config(folder: Path, command: Any = "train", **keys: Any) -> Any:
    paths = {"dataset": "d", "output_dir": "o"} if command == "train" else {}
    return load_config({"model_name_or_path": str(folder), **paths, **keys}, command=command)


def refused(folder: Path, **keys: Any) -> tuple[str, str]:
    with pytest.raises(TunesmithError) as caught:
        look_at_quantization(config(folder, **keys), folder, CPU)
    problem = caught.value.problems[0]
    return problem.code, f"{problem.message} {problem.remedy}"


def test_keys_and_names_of_others_choose(folder: Path) -> None:
    assert asked_quantization(config(folder), folder) is None
    assert asked_quantization(config(folder, quantization_bit=4), folder) == NF4
    swift = {"quant_bits": 4, "quant_method": "bnb", "bnb_4bit_quant_type": "fp4", "bnb_4bit_use_double_quant": False}
    assert asked_quantization(config(folder, **swift), folder) == Quantization(
        method="bnb", bits=4, kind="fp4", is_double=False
    )
    wanted = chosen_quantization(
        config(folder, quantization_bit=8, quantization_method="bitsandbytes"), folder, torch.bfloat16
    )
    assert wanted == Quantization(method="bnb", bits=8, dtype="bfloat16")


def test_an_unknown_method_is_refused_with_the_nearest_name(folder: Path) -> None:
    with pytest.raises(TunesmithError) as caught:
        config(folder, quantization_bit=4, quantization_method="bitsnbytes")
    problem = caught.value.problems[0]
    assert problem.code == "config.value_unknown" and "bnb" in problem.remedy
    assert config(folder, quantization_method="hqq").warnings[0].code == "config.keys_inactive"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"quantization_bit": 4, "finetuning_type": "full"}, "finetuning_type: lora"),
        ({"quantization_bit": 4, "finetuning_type": "freeze"}, "finetuning_type: lora"),
        ({"quantization_bit": 3}, "offers 4, 8 bits, not 3"),
        ({"quantization_bit": 4, "quantization_method": "gptq"}, "made with calibration"),
        ({"quantization_bit": 8, "quantization_method": "eetq"}, "no package"),
        ({"quantization_bit": 8, "quantization_method": "quanto"}, "unmaintained"),
    ],
)
def test_what_does_not_run_is_refused_with_the_reason(keys: dict[str, Any], said: str, folder: Path) -> None:
    if "finetuning_type" in keys:
        pytest.importorskip("bitsandbytes")
    code, text = refused(folder, **keys)
    assert code in ("model.quantization_not_trainable", "model.quantization_unsupported") and said in text


def test_qat_conflicts_with_adapters_and_quantised_bases(folder: Path) -> None:
    for keys in (
        {},
        {"finetuning_type": "full", "quantization_bit": 4},
        {"finetuning_type": "full", "pure_bf16": True},
    ):
        with pytest.raises(TunesmithError) as caught:
            config(folder, qat="int8", **keys)
        assert caught.value.problems[0].code in ("config.keys_conflict",)
    assert config(folder, qat="int8", finetuning_type="full").quantization.qat == "int8"


def test_an_adapter_repeats_the_base_it_was_trained_on(folder: Path, tmp_path: Path) -> None:
    recorded = Quantization(method="bnb", bits=4, is_double=False, dtype="bfloat16")
    write_base_record(recorded, tmp_path)
    assert read_base_record(tmp_path) == recorded
    keys = {"adapter_name_or_path": str(tmp_path)}
    assert chosen_quantization(config(folder, "chat", **keys), folder, None) == recorded
    original = config(folder, "chat", **keys, adapter_base="original")
    assert chosen_quantization(original, folder, None) is None and trained_quantization(original, folder) == recorded
    other = chosen_quantization(config(folder, "chat", **keys, quantization_bit=8), folder, None)
    assert other is not None and other.bits == 8
    assert [problem.code for problem in collected_warnings()] == ["model.quantization_differs"]


def test_adapters_continue_on_a_quantised_base_and_are_never_merged_into_it(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    tuner = build("lora")
    model = tuner.attach(load_model(folder, dtype=torch.float32, device=CPU, quantization=NF4))
    losses(model, 2, evaluates=True)
    tuner.save(model, tmp_path)

    def prepared(times: int, *, is_trainable: bool) -> Any:
        base = load_model(folder, dtype=torch.float32, device=CPU, quantization=NF4)
        return build("lora").prepare(base, [tmp_path] * times, is_trainable=is_trainable)

    for is_trainable in (False, True):
        assert torch.equal(logits(prepared(1, is_trainable=is_trainable)), logits(model))
        with pytest.raises(TunesmithError) as caught:
            prepared(2, is_trainable=is_trainable)
        assert caught.value.problems[0].code == "model.quantization_not_trainable"


def to_fp8(folder: Path, place: Path) -> dict[str, Tensor]:
    """Write a folder with weights in FP8 blocks of 128, and give the values they stand for."""
    stored, meant = {}, {}
    for name, weight in load_file(folder / "model.safetensors").items():
        meant[name] = weight
        stored[name] = weight
        if "proj" in name:
            outputs, inputs = (size // 128 for size in weight.shape)
            blocks = weight.view(outputs, 128, inputs, 128)
            scale = blocks.abs().amax((1, 3), keepdim=True) / 448
            values = (blocks / scale).to(torch.float8_e4m3fn)
            meant[name] = (values.float() * scale).view(weight.shape)
            stored[name] = values.view(weight.shape)
            stored[f"{name}_scale_inv"] = scale.view(outputs, inputs).contiguous()
    place.mkdir()
    save_file(stored, place / "model.safetensors", metadata={"format": "pt"})
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    settings["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    (place / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    return meant


def test_fp8_folders_become_plain_weights_that_are_saved_as_such(tmp_path: Path) -> None:
    source = tmp_path / "plain"
    sizes: dict[str, Any] = {"hidden_size": 256, "intermediate_size": 384, "head_dim": 64, "num_key_value_heads": 4}
    tiny_model("llama", **sizes).save_pretrained(source)
    meant = to_fp8(source, tmp_path / "fp8")
    model = load_model(tmp_path / "fp8", dtype=torch.float32, device=CPU)
    assert not is_quantised(model) and all(torch.equal(value, meant[name]) for name, value in model.named_parameters())
    look_at_quantization(config(tmp_path / "fp8", finetuning_type="full"), tmp_path / "fp8", CPU)
    (tmp_path / "saved").mkdir()
    save_whole_model(model, tmp_path / "saved")
    assert torch.equal(logits(load_model(tmp_path / "saved", dtype=torch.float32, device=CPU)), logits(model))
    assert refused(tmp_path / "fp8", quantization_bit=4)[0] == "config.keys_conflict"


@pytest.mark.parametrize(("method", "said"), [("gtpq", "gptq"), ("vptq", "cannot be read"), ("hqq", "cannot be read")])
def test_folders_that_cannot_be_read_are_refused(method: str, said: str, folder: Path) -> None:
    path = folder / "config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**settings, "quantization_config": {"quant_method": method}}), encoding="utf-8")
    code, text = refused(folder)
    assert code == "model.quantization_unsupported" and said in text


def test_a_missing_package_is_named_with_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantizers.get("bnb"), "package", "a_package_that_nobody_has")
    code, text = refused(folder, quantization_bit=4)
    assert code == "environment.package_missing" and "tunesmith[quant]" in text
