# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The life of new tokens and longer contexts: trained, resumed, trained on, served and exported on a tiny model."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import DatasetWriter
from tunesmith.config.load import load_config
from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import Sampling
from tunesmith.jobs import export, train
from tunesmith.jobs.inference import ServedModel, load_served
from tunesmith.models.load import load_model, load_model_config
from tunesmith.templates.tokenizer import load_tokenizer

Keys = dict[str, Any]
NEW = {"add_tokens": "<north>,<south>", "add_special_tokens": ["<stop here>"]}
IDS = [49152, 49153, 49154]


@pytest.fixture
def keys(tiny_llama_folder: Path, dataset_writer: DatasetWriter, tmp_path: Path, monkeypatch: Any) -> Keys:
    """Give the keys of a run of 6 steps on rows that hold the new tokens."""
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    rows = [
        {"instruction": f"Where is {n}?", "input": "", "output": f"<north> of {n + 1}<stop here> or <south>."}
        for n in range(24)
    ]
    dataset_writer.write("places", rows)
    return {
        "model_name_or_path": str(tiny_llama_folder),
        "dataset": "places",
        "dataset_dir": str(dataset_writer.folder),
        "output_dir": str(tmp_path / "run"),
        "use_cpu": True,
        "per_device_train_batch_size": 4,
        "num_train_epochs": 1,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "constant",
        "save_steps": 2,
        **NEW,
    }


def run(keys: Keys, **changes: Any) -> Keys:
    return train.run(load_config({**keys, **changes}, command="train"))


def serve(keys: Keys, adapter: Path | None, **changes: Any) -> ServedModel:
    """Load what would answer, in float32; the keys of the run are not repeated."""
    found = {"model_name_or_path": keys["model_name_or_path"], "infer_dtype": "float32", **changes}
    if adapter is not None:
        found["adapter_name_or_path"] = str(adapter)
    return load_served(load_config(found, command="chat"))


def answer(served: ServedModel, prompt: list[int], length: int = 12) -> list[int]:
    sampling = Sampling(max_new_tokens=length, stop_ids=(), do_sample=False)
    return list(served.engine.generate([prompt], sampling)[0].token_ids)


def refused(keys: Keys, **changes: Any) -> str:
    with pytest.raises(TunesmithError) as error:
        run(keys, **changes)
    return error.value.problems[0].code


@pytest.mark.slow
def test_new_tokens_are_trained_resumed_served_and_exported(keys: Keys, tmp_path: Path) -> None:
    result = run(keys)
    folder = tmp_path / "run"
    rows = load_file(folder / "new_tokens.safetensors")
    assert rows["embedding"].shape == (3, 64) and rows.keys() == {"embedding"}  # the head is tied
    assert result["coverage"]["trained"] >= 3 * 64
    assert result["choices"]["new tokens"] == "3 (<north>, <south>, <stop here>), ids 49152 to 49154"
    manifest = json.loads((folder / "tunesmith_model.json").read_text(encoding="utf-8"))["tokens"]
    assert [token["id"] for token in manifest["tokens"]] == IDS and manifest["base_size"] == 49152
    tokenizer = load_tokenizer(folder)
    assert tokenizer("<north><stop here><south>")["input_ids"] == [49152, 49154, 49153]
    assert tokenizer.decode(IDS, skip_special_tokens=True) == "<north><south>"

    resumed = tmp_path / "short"
    run(keys, output_dir=str(resumed), max_steps=2)
    run(keys, output_dir=str(resumed), resume_from_checkpoint=True)
    for name in ("adapter_model.safetensors", "new_tokens.safetensors"):
        assert (resumed / name).read_bytes() == (folder / name).read_bytes()

    served = serve(keys, folder)
    prompt = served.tokenizer("Where is <south>?")["input_ids"]
    assert 49153 in prompt
    found = answer(served, prompt)
    assert set(found) & set(IDS), "after training at such a rate the new tokens are likely"
    merged = tmp_path / "merged"
    shared = {"model_name_or_path": keys["model_name_or_path"], "adapter_name_or_path": str(folder)}
    told = export.run(load_config({**shared, "export_dir": str(merged), "infer_dtype": "float32"}, command="export"))
    assert told["merge_max_abs_diff"] < 1e-4
    assert load_model_config(merged).get_text_config().vocab_size == 49155
    saved: Any = load_model(merged, dtype=torch.float32)
    assert torch.equal(saved.get_input_embeddings().weight[IDS], rows["embedding"])
    plain = serve({**keys, "model_name_or_path": str(merged)}, None)
    assert answer(plain, prompt) == found

    second = Path(shutil.copytree(folder, tmp_path / "second"))  # of the base model, with its tokenizer
    for name in ("new_tokens.safetensors", "tunesmith_model.json"):
        (second / name).unlink()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(Path(keys["model_name_or_path"]) / name, second / name)
    both = {**shared, "adapter_name_or_path": f"{folder},{second}", "export_dir": str(tmp_path / "both")}
    export.run(load_config({**both, "infer_dtype": "float32"}, command="export"))
    assert load_tokenizer(tmp_path / "both")("<north>")["input_ids"] == [49152]


@pytest.mark.slow
def test_new_tokens_are_trained_on_and_conflicts_are_refused(keys: Keys, tmp_path: Path) -> None:
    run(keys, max_steps=1)
    first = tmp_path / "run"
    on = {"adapter_name_or_path": str(first), "max_steps": 1}
    repeated = {**keys, "add_tokens": None, "add_special_tokens": None}
    run(repeated, **on, output_dir=str(tmp_path / "on"))
    before, after = (load_file(folder / "new_tokens.safetensors")["embedding"] for folder in (first, tmp_path / "on"))
    assert not torch.equal(before, after) and (before - after).abs().max() < 0.05
    run(keys, **on, output_dir=str(tmp_path / "same"))
    assert (tmp_path / "same" / "new_tokens.safetensors").read_bytes() == (
        tmp_path / "on" / "new_tokens.safetensors"
    ).read_bytes()
    assert refused(keys, **on, add_tokens="<north>,<west>") == "model.tokens_conflict"
    assert refused(keys, **on, add_tokens="<north>", add_special_tokens="<south>") == "model.tokens_conflict"
    assert refused(keys, add_tokens="<stop here>") == "model.tokens_conflict"
    other = tmp_path / "other"
    shutil.copytree(keys["model_name_or_path"], other)
    text = (other / "tokenizer.json").read_text(encoding="utf-8")
    content = json.loads(text)
    content["added_tokens"].append({**content["added_tokens"][-1], "content": "<other>", "id": 49152})
    (other / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    assert refused(repeated, **on, model_name_or_path=str(other)) == "model.tokens_conflict"


@pytest.mark.slow
def test_a_whole_model_with_new_tokens_needs_nothing_beside_it(keys: Keys, tmp_path: Path) -> None:
    for kind in ("full", "freeze"):
        folder = tmp_path / kind
        run(keys, output_dir=str(folder), finetuning_type=kind, max_steps=1, freeze_trainable_layers=1)
        assert not (folder / "tunesmith_model.json").exists()
        served = serve({**keys, "model_name_or_path": str(folder)}, None)
        assert served.tokenizer("<north>")["input_ids"] == [49152]
        assert len(answer(served, [5, 49152, 7], 2)) == 2


@pytest.mark.slow
def test_positions_are_scaled_in_training_serving_and_export(keys: Keys, tmp_path: Path) -> None:
    base = Path(keys["model_name_or_path"])
    short = tmp_path / "base"
    shutil.copytree(base, short)
    config = json.loads((short / "config.json").read_text(encoding="utf-8"))
    (short / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 64}), encoding="utf-8")
    plain = {**keys, "model_name_or_path": str(short), "add_tokens": None, "add_special_tokens": None, "max_steps": 1}
    run(plain, rope_scaling="yarn", cutoff_len=150)
    folder = tmp_path / "run"
    saved = json.loads((folder / "tunesmith_model.json").read_text(encoding="utf-8"))["rope"]["parameters"]
    assert saved["rope_type"] == "yarn" and saved["factor"] == 3.0 and saved["original_max_position_embeddings"] == 64
    served = serve(plain, folder)
    prompt = [7 + n % 50 for n in range(120)]
    found = answer(served, prompt, 60)
    assert len(found) == 60
    merged = tmp_path / "merged"
    shared = {"model_name_or_path": str(short), "adapter_name_or_path": str(folder), "infer_dtype": "float32"}
    export.run(load_config({**shared, "export_dir": str(merged)}, command="export"))
    assert load_model_config(merged).rope_parameters["factor"] == 3.0
    assert answer(serve({**plain, "model_name_or_path": str(merged)}, None), prompt, 60) == found
    with pytest.raises(TunesmithError) as refusal:
        answer(serve(plain, None), prompt)
    assert refusal.value.problems[0].code == "engine.prompt_long"
    assert len(answer(serve(plain, None, rope_scaling="dynamic"), prompt, 4)) == 4
    assert refused(plain, rope_scaling="dynamic", cutoff_len=150) == "model.rope_unsupported"
    on = {"adapter_name_or_path": str(folder), "output_dir": str(tmp_path / "on")}
    assert refused(plain, **on, rope_scaling="linear", cutoff_len=150) == "model.rope_conflict"
    assert refused(plain, **on, rope_scaling="yarn", cutoff_len=300) == "model.rope_conflict"
