# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Reward models: values equal transformers' in every layout, folders and adapters load there, heads are kept apart."""

import json
import shutil
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, PeftModelForSequenceClassification
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from tests.unit.models.quantizers.test_methods import WAYS
from tests.unit.models.tiny_models import tiny_model
from tests.unit.models.tiny_tuners import build
from tests.unit.training.batches import make_pairs
from tunesmith.core.errors import TunesmithError
from tunesmith.core.report import collected_warnings
from tunesmith.core.types import LayoutKind, TokenRow
from tunesmith.data.collate import collate
from tunesmith.models.load import load_model
from tunesmith.models.quantizers.base import is_quantised, quantizers
from tunesmith.models.reward_head import (
    active_head,
    has_head,
    load_reward_model,
    load_reward_skeleton,
    refuse_headless,
    set_padding,
)
from tunesmith.models.saved_weights import save_whole_model
from tunesmith.models.tuners.base import Tuner, trained_parameters, tuners
from tunesmith.models.values import last_tokens, score_values

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "phi3", "smollm3")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved("llama", tmp_path / "base")


def saved(family: str, folder: Path) -> Path:
    tiny_model(family, attention="eager" if family == "gemma2" else "sdpa").save_pretrained(folder)
    return folder


def rows() -> list[TokenRow]:
    return make_pairs([5, 9, 3, 7], vocabulary=96, seed=2)


def load(folder: Path, **keys: Any) -> Any:
    return load_reward_model(folder, dtype=torch.float32, device=torch.device("cpu"), **keys).eval()


def paths_of(row: TokenRow) -> dict[int, list[int]]:
    """Give the ids of each answer's path, by the number of its segment."""
    ends = torch.tensor([0, *row.segment_lengths]).cumsum(0).tolist()
    parts = [row.input_ids[start:end].tolist() for start, end in pairwise(ends)]
    return {number: parts[0] + part for number, part in enumerate(parts) if number}


def plain_values(model: Any, made: list[TokenRow]) -> list[float]:
    """Ask transformers for each answer alone."""
    with torch.no_grad():
        return [
            float(model(input_ids=torch.tensor([ids])).logits[0, 0]) for row in made for ids in paths_of(row).values()
        ]


def ours(model: Any, made: list[TokenRow], layout: LayoutKind) -> list[float]:
    batch = collate(made, layout=layout, pad_id=0)
    with torch.no_grad():
        values_S = score_values(model, batch).values_S
    assert values_S is not None
    return [float(value) for name, value in zip(batch.segment_names, values_S, strict=True) if name != "prompt"]


@pytest.mark.parametrize("family", FAMILIES)
def test_values_are_those_of_transformers_shared_packed_or_padded(family: str, tmp_path: Path) -> None:
    model, made = load(saved(family, tmp_path)), rows()
    expected = plain_values(model, made)
    assert len(set(expected)) == len(expected) == 9
    for layout in ("packed", "padded"):
        assert ours(model, made, layout) == pytest.approx(expected, abs=2e-5)


def gradients(model: Any, batches: list[list[TokenRow]], layout: LayoutKind) -> dict[str, Tensor]:
    model.zero_grad()
    for made in batches:
        batch = collate(made, layout=layout, pad_id=0)
        values_S = score_values(model, batch).values_S
        assert values_S is not None
        signs = torch.tensor([{"prompt": 0.0, "chosen": 1.0, "rejected": -0.5}[name] for name in batch.segment_names])
        (values_S * signs).sum().backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def test_gradients_are_the_same_shared_packed_padded_or_split(folder: Path) -> None:
    model, made = load(folder), rows()
    expected = gradients(model, [made], "packed")
    others: list[tuple[list[list[TokenRow]], LayoutKind]] = [
        ([made], "padded"),
        ([[row] for row in made], "packed"),
        ([made[:1], made[1:]], "padded"),
    ]
    for batches, layout in others:
        found = gradients(model, batches, layout)
        for name, values in expected.items():
            assert (found[name] - values).norm() < 2e-6 * max(1.0, float(values.norm())), name


def test_the_last_token_of_each_path_is_found_in_both_layouts() -> None:
    made = rows()
    layouts: tuple[LayoutKind, ...] = ("packed", "padded")
    for layout in layouts:
        batch = collate(made, layout=layout, pad_id=0)
        read = batch.input_ids_BT.flatten()[last_tokens(batch)].tolist()
        wanted = [path[-1] for row in made for path in paths_of(row).values()]
        assert [token for name, token in zip(batch.segment_names, read, strict=True) if name != "prompt"] == wanted


def test_a_fresh_head_follows_from_the_seed_and_leaves_the_random_state(folder: Path) -> None:
    state = torch.get_rng_state()
    first, again, other = (load(folder, seed=seed).score.weight for seed in (1, 1, 2))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not has_head(folder) and not collected_warnings()


def test_a_saved_reward_model_is_a_sequence_classifier(folder: Path, tmp_path: Path) -> None:
    model, made = load(folder), rows()
    set_padding(model, 0, last_id=1, vocabulary=96)
    save_whole_model(model, tmp_path / "reward")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "reward", dtype=torch.float32)
    assert type(plain).__name__ == "LlamaForSequenceClassification" and plain.config.num_labels == 1
    expected = ours(model, made, "packed")
    assert plain_values(plain.eval(), made) == pytest.approx(expected, abs=1e-5)
    assert ours(load(tmp_path / "reward", seed=5), made, "padded") == pytest.approx(expected, abs=1e-5)
    widest = max(len(path) for row in made for path in paths_of(row).values())
    padded = [path + [0] * (widest - len(path)) for row in made for path in paths_of(row).values()]
    mask = (torch.tensor(padded) != 0).long()
    with torch.no_grad():
        together = plain(input_ids=torch.tensor(padded), attention_mask=mask).logits[:, 0]
    assert together.tolist() == pytest.approx(expected, abs=1e-5)


def tuner_of(name: str, **keys: Any) -> Tuner:
    kind = tuners.get(name)
    return kind(kind.Params.model_validate(keys), seed=3)


def trained(tuner: Tuner, folder: Path) -> Any:
    model = tuner.attach(load(folder))
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for _, parameter in trained_parameters(model):
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@pytest.mark.parametrize(
    "keys", [{}, {"additional_target": ("embed_tokens",)}, {"use_dora": True}, {"pissa_init": True}]
)
def test_an_adapter_carries_its_head_and_loads_in_peft(folder: Path, tmp_path: Path, keys: dict[str, Any]) -> None:
    made, tuner = rows(), tuner_of("lora", **keys)
    model = trained(tuner, folder)
    assert any("score" in name for name, _ in trained_parameters(model))
    expected = ours(model, made, "packed")
    (tmp_path / "adapter").mkdir()
    tuner.save(model, tmp_path / "adapter")
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["task_type"] == "SEQ_CLS"
    base = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype=torch.float32)
    plain = PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    assert isinstance(plain, PeftModelForSequenceClassification)
    assert plain_values(plain, made) == pytest.approx(expected, abs=1e-5)
    for is_trainable in (True, False):
        again = tuner_of("lora").load(load(folder, seed=9), tmp_path / "adapter", is_trainable=is_trainable).eval()
        assert ours(again, made, "packed") == pytest.approx(expected, abs=1e-5)
        assert bool(trained_parameters(again)) == is_trainable
    merged = tuner.merge(model)
    assert type(merged).__name__ == "LlamaForSequenceClassification"
    assert ours(merged, made, "padded") == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("name", ["loha", "lokr", "oft"])
def test_other_adapters_carry_the_head_too(folder: Path, tmp_path: Path, name: str) -> None:
    keys = {"oft_block_size": 4} if name == "oft" else {}
    made, tuner = rows(), tuner_of(name, **keys)
    model = trained(tuner, folder)
    tuner.save(model, tmp_path)
    again = tuner_of(name, **keys).load(load(folder, seed=9), tmp_path, is_trainable=False).eval()
    assert ours(again, made, "packed") == pytest.approx(ours(model, made, "packed"), abs=1e-6)


def test_freezing_layers_still_trains_the_head(folder: Path, tmp_path: Path) -> None:
    tuner = tuner_of("freeze", freeze_trainable_layers=1)
    model = trained(tuner, folder)
    names = [name for name, _ in trained_parameters(model)]
    assert "score.weight" in names and all(name == "score.weight" or ".layers.2." in name for name in names)
    tuner.save(model, tmp_path)
    expected = ours(model, rows(), "packed")
    other = tuner_of("freeze", freeze_trainable_layers=1)
    restored = other.attach(load(folder, seed=9))
    other.restore(restored, tmp_path)
    assert ours(restored.eval(), rows(), "packed") == pytest.approx(expected, abs=1e-6)


def test_an_adapter_of_a_language_model_begins_a_reward_model(folder: Path, tmp_path: Path) -> None:
    """Supervised fine-tuning with LoRA, then a reward model that continues that adapter: its weights are taken."""
    written = tuner_of("lora")
    writer: Any = written.attach(load_model(folder, dtype=torch.float32, device=torch.device("cpu")))
    with torch.no_grad():
        for name, parameter in trained_parameters(writer):
            parameter.add_(0.05 if "lora_B" in name else 0.0)
    written.save(writer, tmp_path)
    model = tuner_of("lora").load(load(folder, seed=4), tmp_path, is_trainable=True)
    assert active_head(model).weight.requires_grad
    assert torch.equal(active_head(model).weight, load(folder, seed=4).score.weight)
    taken = {name: value for name, value in model.named_parameters() if "lora_B" in name}
    assert taken and all(float(value.detach().min()) == pytest.approx(0.05) for value in taken.values())


def test_an_adapter_without_the_head_it_promises_is_refused(folder: Path, tmp_path: Path) -> None:
    tuner = tuner_of("lora")
    tuner.save(trained(tuner, folder), tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    save_file(
        {name: value for name, value in tensors.items() if "score" not in name}, tmp_path / "adapter_model.safetensors"
    )
    with pytest.raises(TunesmithError) as caught:
        tuner_of("lora").load(load(folder), tmp_path, is_trainable=False)
    assert caught.value.problems[0].code == "tuner.adapter_mismatch" and "score.weight" in str(caught.value)


def write_value_head(folder: Path, weight: Tensor, bias: float) -> None:
    tensors = {"v_head.summary.weight": weight, "v_head.summary.bias": torch.tensor([bias])}
    save_file(tensors, folder / "value_head.safetensors")


def test_llamafactorys_value_head_is_read_beside_a_model(folder: Path) -> None:
    weight = torch.randn(1, 32, generator=torch.Generator().manual_seed(6))
    write_value_head(folder, weight, bias=0.25)
    model = load(folder)
    assert torch.equal(model.score.weight, weight) and has_head(folder)
    (problem,) = collected_warnings()
    assert problem.code == "model.reward_bias_dropped" and "0.25" in problem.message
    writer = tiny_model("llama", attention="sdpa").eval()
    ids = torch.tensor([[5, 9, 11, 4]])
    with torch.no_grad():
        theirs = writer.model(input_ids=ids).last_hidden_state[0, -1] @ weight[0]
        assert float(model(input_ids=ids).logits[0, 0]) == pytest.approx(float(theirs), abs=1e-5)


def test_llamafactorys_value_head_is_read_beside_an_adapter(folder: Path, tmp_path: Path) -> None:
    written = tuner_of("lora")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    written.save(written.attach(load_model(folder, dtype=torch.float32, device=torch.device("cpu"))), adapter)
    weight = torch.randn(1, 32)
    write_value_head(adapter, weight, bias=0.0)
    refuse_headless(folder, [adapter])
    model = tuner_of("lora").load(load(folder), adapter, is_trainable=False)
    assert torch.equal(active_head(model).weight, weight)


@pytest.mark.parametrize("where", ["model", "adapter"])
def test_a_pickled_value_head_is_refused(folder: Path, tmp_path: Path, where: str) -> None:
    place = folder if where == "model" else tmp_path
    (place / "value_head.bin").write_bytes(b"\x80")
    with pytest.raises(TunesmithError) as caught:
        refuse_headless(folder, [tmp_path])
    assert caught.value.problems[0].code == "security.pickle_refused"


def test_what_cannot_score_or_write_is_refused(folder: Path, tmp_path: Path) -> None:
    codes = []
    save_whole_model(load(folder), tmp_path / "reward")
    tuner = tuner_of("lora")
    (tmp_path / "adapter").mkdir()
    tuner.save(trained(tuner, folder), tmp_path / "adapter")
    shutil.copytree(tmp_path / "reward", tmp_path / "classes")
    config = json.loads((tmp_path / "classes" / "config.json").read_text())
    config |= {"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}}
    (tmp_path / "classes" / "config.json").write_text(json.dumps(config))
    for attempt in (
        lambda: refuse_headless(folder, []),
        lambda: load_model(tmp_path / "reward", dtype=torch.float32),
        lambda: tuner_of("lora").load(
            load_model(folder, dtype=torch.float32), tmp_path / "adapter", is_trainable=False
        ),
        lambda: load(tmp_path / "classes"),
        lambda: load_reward_skeleton(saved("granite", tmp_path / "granite")),
    ):
        with pytest.raises(TunesmithError) as caught:
            attempt()
        codes.append(caught.value.problems[0].code)
    assert codes == [
        "model.reward_head_missing",
        "model.reward_only",
        "model.reward_only",
        "model.reward_unsupported",
        "model.reward_unsupported",
    ]


def test_padding_is_never_what_conversations_end_with(folder: Path) -> None:
    model = load(folder)
    assert set_padding(model, 7, last_id=2, vocabulary=96) == model.config.pad_token_id == 7
    model.config.pad_token_id = None
    assert set_padding(model, 2, last_id=2, vocabulary=96) == 95
    model.config.pad_token_id = 0
    assert set_padding(model, 2, last_id=2, vocabulary=96) == 0


@pytest.mark.parametrize("way", ["nf4", "bnb8", "torchao8", "hqq4"])
def test_a_quantised_reward_model_keeps_and_trains_its_head_in_full(way: str, tmp_path: Path) -> None:
    if find_spec(quantizers.get(WAYS[way].method).package) is None:
        pytest.skip(f"{WAYS[way].method} is not installed")
    tiny_model("llama", hidden_size=64, intermediate_size=128, head_dim=16).save_pretrained(tmp_path / "base")
    base = load(tmp_path / "base", quantization=WAYS[way])
    assert is_quantised(base) and not is_quantised(active_head(base)) and not base.training
    kind = tuners.get("lora")
    model = kind(kind.Params.model_validate({})).attach(base)
    found = gradients(model.train(), [rows()], "packed")
    assert any("score" in name for name in found) and any("lora_B" in name for name in found)
    assert all("score" in name or "lora_" in name for name in found)


@pytest.mark.parametrize("name", ["prompt_tuning", "adapter", "trainable_tokens"])
def test_tuners_that_leave_the_head_as_it_is_are_refused(name: str, folder: Path) -> None:
    tuner = build(name)
    with pytest.raises(TunesmithError) as caught:
        tuner.attach(load(folder))
    assert caught.value.problems[0].code == "tuner.reward_head_untrained"


def test_new_layers_train_the_head_beside_them(folder: Path) -> None:
    model = build("llamapro", llamapro_num_new_blocks=1).attach(load(folder))
    assert "score.weight" in [name for name, _ in trained_parameters(model)]
