# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Export writes a folder that computes what base and adapter compute, or nothing at all."""

import errno
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoTokenizer, GenerationConfig

from tunesmith.config.load import load_config
from tunesmith.core.errors import TunesmithError
from tunesmith.jobs import export
from tunesmith.models import verify
from tunesmith.models.load import load_model
from tunesmith.models.safetensors_file import read_headers
from tunesmith.models.saved_weights import save_whole_model
from tunesmith.models.tuners.base import trained_parameters
from tunesmith.models.tuners.lora import LoraParams, LoraTuner
from tunesmith.models.verify import compare_logits, largest_difference, probe_ids, probe_logits

CPU = torch.device("cpu")
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(autouse=True)
def few_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verify on two texts; a vocabulary of 49,152 makes all of them slow on a tiny model."""
    texts = verify.probe_texts()
    monkeypatch.setattr(verify, "probe_texts", lambda: (texts[0], texts[-1]))


@pytest.fixture
def adapter(tiny_llama_folder: Path, tmp_path: Path) -> Path:
    """Save an adapter that changes the tiny model much, with a template of its own."""
    return make_adapter(load_model(tiny_llama_folder, dtype=torch.float32, device=CPU), tmp_path / "adapter")


def make_adapter(model: Any, folder: Path, seed: int = 0) -> Path:
    params: Any = LoraParams
    tuner = LoraTuner(params(lora_rank=4))
    adapted = tuner.attach(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in trained_parameters(adapted):
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    folder.mkdir()
    tuner.save(adapted, folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    return folder


def run(folder: Path, target: Path, **keys: Any) -> dict[str, Any]:
    values: Mapping[str, Any] = {"model_name_or_path": str(folder), "export_dir": str(target), **keys}
    return export.run(load_config(values, command="export"))


def logits(
    folder: Path, adapters: list[Path], probes: list[Tensor], dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    params: Any = LoraParams
    model: Any = load_model(folder, dtype=dtype, device=CPU)
    for path in adapters:
        tuner = LoraTuner(params())
        model = tuner.merge(tuner.load(model, path, is_trainable=False))
    return probe_logits(model, probes, dtype=torch.float32)


def refused(folder: Path, target: Path, **keys: Any) -> TunesmithError:
    before = sorted(target.parent.iterdir())
    with pytest.raises(TunesmithError) as caught:
        run(folder, target, **keys)
    assert sorted(target.parent.iterdir()) == before, "a refused export leaves nothing behind"
    return caught.value


def test_merged_folder_is_whole_and_computes_the_same(tiny_llama_folder: Path, adapter: Path, tmp_path: Path) -> None:
    target = tmp_path / "merged"
    result = run(tiny_llama_folder, target, adapter_name_or_path=str(adapter))
    assert result["export_dir"] == str(target) and result["merge_max_abs_diff"] <= 1e-4
    assert result["merge_top1_agreement"] >= 0.999 and result["merge_mean_kl"] <= 1e-3
    assert result["files"] == sorted(path.name for path in target.iterdir())
    assert {"config.json", "model.safetensors", "generation_config.json", "tokenizer.json"} <= set(result["files"])
    assert (target / "chat_template.jinja").read_text(encoding="utf-8").rstrip() == TEMPLATE
    assert {header.dtype for header in read_headers(target / "model.safetensors").values()} == {"BF16"}
    assert json.loads((target / "config.json").read_text(encoding="utf-8"))["dtype"] == "bfloat16"
    tokenizer: Any = AutoTokenizer.from_pretrained(target)
    probes = probe_ids(tokenizer)
    comparison = compare_logits(logits(tiny_llama_folder, [adapter], probes), logits(target, [], probes))
    assert comparison.mean_kl < 1e-3
    base = compare_logits(logits(tiny_llama_folder, [], probes), logits(target, [], probes))
    assert base.mean_kl > 100 * comparison.mean_kl, "the adapter must matter for this test to say anything"
    record = json.loads((target / export.RECORD_FILE).read_text(encoding="utf-8"))
    assert record["adapters"] == [str(adapter)] and record["merge_mean_kl"] == result["merge_mean_kl"]


def test_float32_and_several_adapters(tiny_llama_folder: Path, adapter: Path, tmp_path: Path) -> None:
    params: Any = LoraParams
    tuner = LoraTuner(params())
    base = load_model(tiny_llama_folder, dtype=torch.float32, device=CPU)
    second = make_adapter(tuner.merge(tuner.load(base, adapter, is_trainable=False)), tmp_path / "second", seed=1)
    both = [adapter, second]
    target = tmp_path / "merged"
    run(tiny_llama_folder, target, adapter_name_or_path=[str(path) for path in both], infer_dtype="float32")
    probes = probe_ids(AutoTokenizer.from_pretrained(target))
    difference = largest_difference(logits(tiny_llama_folder, both, probes), logits(target, [], probes))
    assert difference < 1e-4
    assert {header.dtype for header in read_headers(target / "model.safetensors").values()} == {"F32"}


def test_whole_model_without_adapters(tiny_llama_folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    result = run(tiny_llama_folder, target, infer_dtype="float32")
    assert result["merge_max_abs_diff"] == 0.0 and result["merge_top1_agreement"] == 1.0
    stored = load_file(tiny_llama_folder / "model.safetensors")
    assert all(torch.equal(stored[name], value) for name, value in load_file(target / "model.safetensors").items())


def test_template_stop_tokens_reach_other_programs(tiny_llama_folder: Path, adapter: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_llama_folder, tmp_path / "base"))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 0}), encoding="utf-8")
    run(folder, tmp_path / "merged", adapter_name_or_path=str(adapter))
    assert GenerationConfig.from_pretrained(tmp_path / "merged").eos_token_id == [0, 2]


def test_sampling_values_without_sampling_can_be_exported(tiny_llama_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_llama_folder, tmp_path / "base"))
    (folder / "generation_config.json").write_text(json.dumps({"temperature": 0.6, "top_p": 0.9}), encoding="utf-8")
    run(folder, tmp_path / "merged")
    saved = GenerationConfig.from_pretrained(tmp_path / "merged")
    assert (saved.do_sample, saved.temperature, saved.top_p) == (True, 0.6, 0.9)


def test_folders_in_use(tiny_llama_folder: Path, adapter: Path, tmp_path: Path) -> None:
    target = tmp_path / "merged"
    target.mkdir()
    run(tiny_llama_folder, target)
    error = refused(tiny_llama_folder, target, adapter_name_or_path=str(adapter))
    assert error.problems[0].code == "export.folder_in_use" and error.exit_code == 2
    first = (target / "model.safetensors").read_bytes()
    run(tiny_llama_folder, target, adapter_name_or_path=str(adapter), overwrite_output_dir=True)
    assert (tmp_path / "merged.old-1" / "model.safetensors").read_bytes() == first
    assert (target / "model.safetensors").read_bytes() != first
    error = refused(tiny_llama_folder, adapter, overwrite_output_dir=True)
    assert error.problems[0].code == "export.folder_in_use"
    assert "overwrite_output_dir moves only earlier exports aside" in error.problems[0].remedy
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert refused(tiny_llama_folder, tmp_path / "file").problems[0].code == "export.folder_in_use"


@pytest.mark.parametrize("where", ["adapter", "model"])
def test_weights_that_are_not_finite(tiny_llama_folder: Path, adapter: Path, tmp_path: Path, where: str) -> None:
    folder = Path(shutil.copytree(tiny_llama_folder, tmp_path / "base"))
    path = adapter / "adapter_model.safetensors" if where == "adapter" else folder / "model.safetensors"
    tensors = load_file(path)
    tensors[sorted(tensors)[2]].view(-1)[5] = float("nan")
    save_file(tensors, path, metadata={"format": "pt"})
    error = refused(folder, tmp_path / "merged", adapter_name_or_path=str(adapter))
    assert error.problems[0].code == "model.weights_not_finite" and error.exit_code == 6


def test_a_merge_that_differs_is_refused(
    tiny_llama_folder: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changes_a_layer(tuner: LoraTuner, model: Any) -> Any:
        layer = model.get_base_model().model.layers[1].mlp.up_proj
        layer.lora_B["default"].weight.data *= 1.001
        return merge(tuner, model)

    merge = LoraTuner.merge
    monkeypatch.setattr(LoraTuner, "merge", changes_a_layer)
    error = refused(tiny_llama_folder, tmp_path / "merged", adapter_name_or_path=str(adapter))
    assert error.problems[0].code == "export.merge_differs" and error.exit_code == 6


def test_a_saved_folder_that_differs_is_refused(
    tiny_llama_folder: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def saves_another(model: Any, folder: Path, *, shard_gigabytes: int) -> None:
        model.model.layers[0].self_attn.q_proj.weight.data.mul_(1.5)
        save(model, folder, shard_gigabytes=shard_gigabytes)

    save = save_whole_model
    monkeypatch.setattr(export, "save_whole_model", saves_another)
    error = refused(tiny_llama_folder, tmp_path / "merged", adapter_name_or_path=str(adapter))
    assert error.problems[0].code == "export.merge_differs" and error.exit_code == 6


def test_disks_that_are_full(tiny_llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
        error = refused(tiny_llama_folder, tmp_path / "merged")
        assert error.problems[0].code == "resources.disk_short" and error.exit_code == 5

    def fills_the_disk(model: Any, folder: Path, *, shard_gigabytes: int) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(export, "save_whole_model", fills_the_disk)
    with pytest.raises(OSError, match="No space left"):
        run(tiny_llama_folder, tmp_path / "merged")
    assert list(tmp_path.iterdir()) == []
