# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Compiled layers: the same step, under checkpointing too; only steps are compiled; what differs stays eager."""

import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from tunesmith.models.compiled import cannot_compile, compile_layers, undo_compiling, worth_compiling

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))


def tiny() -> LlamaForCausalLM:
    """Build a tiny model that attends by the layout."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2
    )
    model = LlamaForCausalLM._from_config(config, attn_implementation="forest")
    assert isinstance(model, LlamaForCausalLM)
    return model


def gradients(model: nn.Module, tokens: int) -> list[torch.Tensor]:
    """Give the gradients of all weights for a padded batch."""
    ids = torch.arange(2 * tokens).reshape(2, -1) % 50
    model.zero_grad()
    model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits.pow(2).mean().backward()
    return [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]


@pytest.mark.parametrize("checkpoints", [False, True])
def test_steps_are_equal_whatever_the_length(checkpoints: bool) -> None:
    eager = tiny().train()
    model = deepcopy(eager)
    trial = compile_layers(model, "padded", backend="aot_eager")
    assert trial.is_equal, trial.reason
    for one in (eager, model):
        if checkpoints:
            one.gradient_checkpointing_enable({"use_reentrant": False})
    for tokens in (5, 9, 30):
        pairs = zip(gradients(model, tokens), gradients(eager, tokens), strict=True)
        for found, expected in pairs:
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_the_real_compiler_gives_equal_packed_steps() -> None:
    if cannot_compile(CPU):
        pytest.skip(cannot_compile(CPU))
    model = tiny()
    trial = compile_layers(model, "packed")
    assert trial.is_equal, trial.reason


def test_only_steps_with_gradients_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counting(function: Any, **_: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(1)
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(torch, "compile", counting)
    model = tiny()
    for weight in model.get_input_embeddings().parameters():
        weight.requires_grad_(False)
    compile_layers(model, "packed")
    calls.clear()
    ids = torch.arange(6)[None]
    model.train()
    model(input_ids=ids, use_cache=False)
    assert len(calls) == 2  # the first layer's input needs no gradient
    with torch.no_grad():
        model(input_ids=ids, use_cache=False)
    model.eval()
    model(input_ids=ids, use_cache=False)
    assert len(calls) == 2


def test_a_difference_leaves_all_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(function: Any, **_: Any) -> Any:
        return lambda *args, **kwargs: 1.5 * function(*args, **kwargs)

    monkeypatch.setattr(torch, "compile", wrong)
    model = tiny()
    kinds = [type(layer) for layer in model.model.layers]
    trial = compile_layers(model, "packed")
    assert not trial.is_equal and "differ from" in trial.reason
    assert [type(layer) for layer in model.model.layers] == kinds


def test_a_failing_compiler_leaves_all_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(function: Any, **_: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("no such compiler")

        return call

    monkeypatch.setattr(torch, "compile", failing)
    model = tiny()
    trial = compile_layers(model, "padded")
    assert not trial.is_equal and "no such compiler" in trial.reason
    undo_compiling(model)  # nothing is left to undo
    assert model(input_ids=torch.arange(4)[None]).logits.isfinite().all()


def test_long_runs_are_worth_compiling() -> None:
    model = tiny()
    assert not worth_compiling(model, tokens=10_000, device=CPU)[0]
    is_worth, reason = worth_compiling(model, tokens=10**13, device=CPU)
    assert is_worth and "times the work" in reason


def test_a_machine_without_a_compiler_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert "no C++ compiler" in cannot_compile(CPU)
    assert "mps" in cannot_compile(torch.device("mps"))
