# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The contract of every registered tuner, on a tiny model: identity, what trains, saving, merging, the base view."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.unit.models.tiny_models import VOCABULARY, tiny_model
from tunesmith.core.errors import TunesmithError
from tunesmith.models.anatomy import base_model
from tunesmith.models.coverage import STATES, coverage
from tunesmith.models.saved_weights import save_whole_model
from tunesmith.models.tuners.base import Tuner, trained_parameters, tuners

IDS = torch.randint(3, VOCABULARY, (2, 11), generator=torch.Generator().manual_seed(0))
NAMES = tuners.names()


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


def build(name: str, *, seed: int = 1, pure_bf16: bool = False) -> Tuner:
    kind = tuners.get(name)
    return kind(kind.Params(), seed=seed, pure_bf16=pure_bf16)


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        result: Tensor = model(input_ids=IDS).logits
    return result


def train(model: Any, steps: int = 2) -> None:
    optimizer = torch.optim.SGD([parameter for _, parameter in trained_parameters(model)], lr=0.5)
    for _ in range(steps):
        optimizer.zero_grad()
        output = model(input_ids=IDS).logits[:, :-1].float()
        torch.nn.functional.cross_entropy(output.flatten(0, 1), IDS[:, 1:].flatten()).backward()
        optimizer.step()


def values(model: Any) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def test_registered_tuners() -> None:
    assert {"full", "freeze", "lora"} <= set(NAMES)
    sections = [tuners.get(name).Params.section for name in NAMES]
    assert len(set(sections)) == len(sections)


def test_starts_as_identity(name: str) -> None:
    plain = logits(tiny_model("llama"))
    assert torch.equal(logits(build(name).attach(tiny_model("llama"))), plain)


def test_only_its_weights_train(name: str) -> None:
    model = build(name).attach(tiny_model("llama"))
    before, start = values(model), logits(model)
    trained = {parameter for parameter, _ in trained_parameters(model)}
    train(model)
    changed = {key for key, value in values(model).items() if not torch.equal(value, before[key])}
    assert changed == trained and (logits(model) - start).abs().max() > 1e-3


def test_same_seed_gives_the_same_start_and_leaves_the_random_state(name: str) -> None:
    state = torch.get_rng_state()
    first, again, other = (values(build(name, seed=seed).attach(tiny_model("llama"))) for seed in (1, 1, 2))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(first[key], again[key]) for key in first)
    if name == "lora":
        assert any(not torch.equal(first[key], other[key]) for key in first)


def test_saved_and_loaded_weights_are_equal(name: str, tmp_path: Path) -> None:
    tuner = build(name)
    model = tuner.attach(tiny_model("llama"))
    train(model)
    tuner.save(model, tmp_path)
    assert not [path.name for path in tmp_path.iterdir() if path.suffix not in (".json", ".safetensors")]
    for is_trainable in (False, True):
        loaded = build(name, seed=9).load(tiny_model("llama"), tmp_path, is_trainable=is_trainable)
        assert torch.equal(logits(loaded), logits(model))
        assert bool(trained_parameters(loaded)) == is_trainable


def test_restoring_keeps_the_parameters_themselves(name: str, tmp_path: Path) -> None:
    """An optimizer holds the parameters, so values must be copied into them."""
    tuner = build(name)
    model = tuner.attach(tiny_model("llama"))
    train(model)
    tuner.save(model, tmp_path)
    expected, held = values(model), dict(model.named_parameters())
    train(model)
    tuner.restore(model, tmp_path)
    assert all(torch.equal(value, expected[key]) for key, value in values(model).items())
    assert all(parameter is held[key] for key, parameter in model.named_parameters())


def test_saving_twice_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    contents = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        tuner = build(name)
        tuner.save(tuner.attach(tiny_model("llama")), folder)
        contents.append({path.name: path.read_bytes() for path in sorted(folder.iterdir())})
    assert contents[0] == contents[1]


def test_merged_model_computes_the_same(name: str, tmp_path: Path) -> None:
    tuner = build(name)
    model = tuner.attach(tiny_model("llama"))
    train(model)
    expected = logits(model)
    merged = tuner.merge(model)
    assert (logits(merged) - expected).abs().max() < 1e-5
    assert {key for key, _ in merged.named_parameters()} == {key for key, _ in tiny_model("llama").named_parameters()}


@pytest.mark.parametrize("is_continued", [False, True])
def test_base_view_equals_the_start_of_the_run(name: str, tmp_path: Path, is_continued: bool) -> None:
    tuner = build(name)
    model = tuner.attach(tiny_model("llama"))
    if is_continued:
        train(model)
        tuner.save(model, tmp_path)
        tuner = build(name)
        model = tuner.load(tiny_model("llama"), tmp_path, is_trainable=True)
    start = logits(model)
    tuner.remember_base(model)
    trained = [key for key, _ in trained_parameters(model)]
    train(model)
    after = logits(model)
    with tuner.base_view(model):
        assert torch.equal(logits(model), start)
    assert torch.equal(logits(model), after) and not torch.equal(after, start)
    assert [key for key, _ in trained_parameters(model)] == trained


def test_base_view_between_forward_and_backward_changes_no_gradient(name: str) -> None:
    gradients = []
    for looks_at_base in (False, True):
        tuner = build(name)
        model: Any = tuner.attach(tiny_model("llama"))
        tuner.remember_base(model)
        train(model, steps=1)
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = model(input_ids=IDS).logits.float()
            if looks_at_base:
                with tuner.base_view(model):
                    logits(model)
        output.square().mean().backward()
        gradients.append([parameter.grad for _, parameter in trained_parameters(model)])
    assert all(torch.equal(plain, viewed) for plain, viewed in zip(*gradients, strict=True))


def test_trained_weights_are_float32_unless_pure_bf16(name: str) -> None:
    kept = build(name, pure_bf16=True).attach(tiny_model("llama", dtype=torch.bfloat16))
    assert {parameter.dtype for _, parameter in trained_parameters(kept)} == {torch.bfloat16}
    mixed = build(name).attach(tiny_model("llama", dtype=torch.bfloat16))
    assert {parameter.dtype for _, parameter in trained_parameters(mixed)} == {torch.float32}
    frozen = {parameter.dtype for parameter in mixed.parameters() if not parameter.requires_grad}
    assert frozen <= {torch.bfloat16}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_not_saved(name: str, tmp_path: Path, bad: float) -> None:
    tuner = build(name)
    model = tuner.attach(tiny_model("llama"))
    with torch.no_grad():
        trained_parameters(model)[-1][1].view(-1)[3] = bad
    with pytest.raises(TunesmithError) as caught:
        tuner.save(model, tmp_path)
    assert caught.value.problems[0].code == "model.weights_not_finite" and caught.value.exit_code == 6
    assert list(tmp_path.iterdir()) == []


def test_coverage_counts_every_weight(name: str) -> None:
    model = build(name).attach(tiny_model("llama"))
    report = coverage(model)
    assert sum(report.totals.values()) == sum(parameter.numel() for parameter in model.parameters())
    assert report.totals["trained"] == sum(parameter.numel() for _, parameter in trained_parameters(model))
    assert all(report.to_json()["parameters"][state] == report.totals[state] for state in STATES)
    assert len(report.table().splitlines()) == len(report.rows) + 2


def test_prepare_without_adapters(name: str) -> None:
    used = build(name).prepare(tiny_model("llama"), [], is_trainable=False)
    assert torch.equal(logits(used), logits(tiny_model("llama")))
    assert trained_parameters(build(name).prepare(tiny_model("llama"), [], is_trainable=True))


def test_whole_model_round_trip_with_tied_weights(tmp_path: Path) -> None:
    tuner = build("full")
    model = tuner.attach(tiny_model("llama", tie_word_embeddings=True))
    train(model)
    save_whole_model(base_model(model), tmp_path, shard_gigabytes=1)
    other = tuner.load(tiny_model("llama", tie_word_embeddings=True), tmp_path, is_trainable=False)
    assert torch.equal(logits(other), logits(model))
