# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The contract of every registered tuner, on a tiny model: identity, what trains, saving, merging, the base view."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.unit.models.tiny_models import tiny_model
from tests.unit.models.tiny_tuners import IDS, NAMES, STEP_SIZES, build, logits, train
from tunesmith.core.errors import TunesmithError
from tunesmith.models.anatomy import base_model
from tunesmith.models.coverage import STATES, coverage
from tunesmith.models.saved_weights import save_whole_model
from tunesmith.models.tuners.base import trained_parameters, tuners

# A chain of reflections in pairs gives the identity up to rounding.
ROUNDING = {"hra": 1e-5}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


def tiny(**changes: Any) -> Any:
    return tiny_model("llama", **{"num_hidden_layers": 2, **changes})


def moved(name: str, model: Any, steps: int = 2) -> None:
    train(model, steps, step_size=STEP_SIZES.get(name, 0.5))


def values(model: Any) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def test_registered_tuners() -> None:
    assert {"full", "freeze", "lora"} <= set(NAMES)
    sections = [tuners.get(name).Params.section for name in NAMES]
    assert len(set(sections)) == len(sections)


def test_starts_as_identity(name: str) -> None:
    plain, started = logits(tiny()), logits(build(name).attach(tiny()))
    assert bool((started - plain).abs().max() <= ROUNDING.get(name, 0.0)) == tuners.get(name).starts_as_identity


def test_only_its_weights_train(name: str) -> None:
    model = build(name).attach(tiny())
    before, start = {key: value.detach().clone() for key, value in model.named_parameters()}, logits(model)
    trained = {parameter for parameter, _ in trained_parameters(model)}
    moved(name, model)
    changed = {key for key, value in model.named_parameters() if not torch.equal(value, before[key])}
    assert changed == trained and (logits(model) - start).abs().max() > 1e-3


def test_same_seed_gives_the_same_start_and_leaves_the_random_state(name: str) -> None:
    state = torch.get_rng_state()
    first, again, other = (values(build(name, seed=seed).attach(tiny())) for seed in (1, 1, 2))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(first[key], again[key]) for key in first)
    if name == "lora":
        assert any(not torch.equal(first[key], other[key]) for key in first)


def test_saved_and_loaded_weights_are_equal(name: str, tmp_path: Path) -> None:
    tuner = build(name)
    model = tuner.attach(tiny())
    moved(name, model)
    tuner.save(model, tmp_path)
    assert not [path.name for path in tmp_path.iterdir() if path.suffix not in (".json", ".safetensors")]
    for is_trainable in (False, True):
        loaded = build(name, seed=9).load(tiny(), tmp_path, is_trainable=is_trainable)
        assert torch.equal(logits(loaded), logits(model))
        assert bool(trained_parameters(loaded)) == is_trainable


def test_restoring_keeps_the_parameters_themselves(name: str, tmp_path: Path) -> None:
    """An optimizer holds the parameters, so values must be copied into them."""
    tuner = build(name)
    model = tuner.attach(tiny())
    moved(name, model)
    tuner.save(model, tmp_path)
    expected, held = values(model), dict(model.named_parameters())
    moved(name, model)
    tuner.restore(model, tmp_path)
    assert all(torch.equal(value, expected[key]) for key, value in values(model).items())
    assert all(parameter is held[key] for key, parameter in model.named_parameters())


def test_saving_twice_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    contents = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        tuner = build(name)
        tuner.save(tuner.attach(tiny()), folder)
        contents.append({path.name: path.read_bytes() for path in sorted(folder.iterdir())})
    assert contents[0] == contents[1]


def test_merged_model_computes_the_same(name: str, tmp_path: Path) -> None:
    tuner = build(name)
    model = tuner.attach(tiny())
    moved(name, model)
    expected = logits(model)
    if tuner.merge_refused is not None:
        with pytest.raises(TunesmithError) as caught:
            tuner.merge(model)
        assert caught.value.problems[0].code == "tuner.merge_impossible"
        return
    merged = tuner.merge(model)
    assert (logits(merged) - expected).abs().max() < 2e-5
    plain = tiny(num_hidden_layers=merged.config.num_hidden_layers)
    assert {key for key, _ in merged.named_parameters()} == {key for key, _ in plain.named_parameters()}


@pytest.mark.parametrize("is_continued", [False, True])
def test_base_view_equals_the_start_of_the_run(name: str, tmp_path: Path, is_continued: bool) -> None:
    tuner = build(name)
    model = tuner.attach(tiny())
    if is_continued:
        moved(name, model)
        tuner.save(model, tmp_path)
        tuner = build(name)
        model = tuner.load(tiny(), tmp_path, is_trainable=True)
    start = logits(model)
    tuner.remember_base(model)
    trained = [key for key, _ in trained_parameters(model)]
    moved(name, model)
    after = logits(model)
    with tuner.base_view(model):
        assert (logits(model) - start).abs().max() <= (0.0 if is_continued else ROUNDING.get(name, 0.0))
    assert torch.equal(logits(model), after) and not torch.equal(after, start)
    assert [key for key, _ in trained_parameters(model)] == trained


def test_base_view_between_forward_and_backward_changes_no_gradient(name: str) -> None:
    gradients = []
    for looks_at_base in (False, True):
        tuner = build(name)
        model: Any = tuner.attach(tiny())
        tuner.remember_base(model)
        moved(name, model, steps=1)
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
    kept = build(name, pure_bf16=True).attach(tiny(dtype=torch.bfloat16))
    assert {parameter.dtype for _, parameter in trained_parameters(kept)} == {torch.bfloat16}
    mixed = build(name).attach(tiny(dtype=torch.bfloat16))
    assert {parameter.dtype for _, parameter in trained_parameters(mixed)} == {torch.float32}
    frozen = {parameter.dtype for parameter in mixed.parameters() if not parameter.requires_grad}
    assert frozen <= {torch.bfloat16}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_not_saved(name: str, tmp_path: Path, bad: float) -> None:
    tuner = build(name)
    model = tuner.attach(tiny())
    with torch.no_grad():
        trained_parameters(model)[-1][1].view(-1)[3] = bad
    with pytest.raises(TunesmithError) as caught:
        tuner.save(model, tmp_path)
    assert caught.value.problems[0].code == "model.weights_not_finite" and caught.value.exit_code == 6
    assert list(tmp_path.iterdir()) == []


def test_coverage_counts_every_weight(name: str) -> None:
    model = build(name).attach(tiny())
    report = coverage(model)
    assert sum(report.totals.values()) == sum(parameter.numel() for parameter in model.parameters())
    assert report.totals["trained"] == sum(parameter.numel() for _, parameter in trained_parameters(model))
    assert all(report.to_json()["parameters"][state] == report.totals[state] for state in STATES)
    assert len(report.table().splitlines()) == len(report.rows) + 2


def test_prepare_without_adapters(name: str) -> None:
    used = build(name).prepare(tiny(), [], is_trainable=False)
    assert torch.equal(logits(used), logits(tiny()))
    assert trained_parameters(build(name).prepare(tiny(), [], is_trainable=True))


def test_whole_model_round_trip_with_tied_weights(tmp_path: Path) -> None:
    tuner = build("full")
    model = tuner.attach(tiny(tie_word_embeddings=True))
    train(model)
    save_whole_model(base_model(model), tmp_path, shard_gigabytes=1)
    other = tuner.load(tiny(tie_word_embeddings=True), tmp_path, is_trainable=False)
    assert torch.equal(logits(other), logits(model))
