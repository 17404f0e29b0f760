# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Types whose past tokens cannot be kept for a padded batch answer row by row, as whole forward passes would."""

from typing import Any

import pytest
import torch

from tests.unit.models.attention.random_families import random_model
from tunesmith.core.errors import TunesmithError
from tunesmith.core.report import clear_warnings, collected_warnings
from tunesmith.core.types import Sampling
from tunesmith.engines.torch import TorchEngine

PROMPTS = [list(range(5, 16)), [40, 8, 30, 21]]


@torch.no_grad()
def whole_passes(model: Any, prompt: list[int], count: int) -> list[int]:
    ids = torch.tensor([prompt])
    for _ in range(count):
        ids = torch.cat([ids, model(input_ids=ids, use_cache=False).logits[:, -1:].argmax(-1)], dim=1)
    return [int(token) for token in ids[0, len(prompt) :]]


@pytest.mark.parametrize(
    ("model_type", "past"),
    [
        ("qwen3_5_text", "batched"),
        ("mamba2", "batched"),
        ("mamba", "alone"),
        ("deepseek_v4", "alone"),
        ("rwkv", "whole"),
    ],
)
def test_answers_are_those_of_whole_passes(model_type: str, past: str) -> None:
    clear_warnings()
    model = random_model(model_type, attention=None)
    engine = TorchEngine(model, pad_id=0)
    answers = engine.generate(PROMPTS, Sampling(max_new_tokens=6, stop_ids=()))
    assert engine.past() == past
    assert [problem.code for problem in collected_warnings()] == ([] if past == "batched" else ["engine.cache_unfit"])
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        expected = whole_passes(model, prompt, 6)
        assert list(answer.token_ids) == expected
        assert list(engine.stream(prompt, Sampling(max_new_tokens=6, stop_ids=()))) == expected


def test_a_head_that_is_not_known_answers_nothing() -> None:
    with pytest.raises(TunesmithError) as caught:
        TorchEngine(random_model("bert", attention=None), pad_id=0).generate(
            PROMPTS, Sampling(max_new_tokens=1, stop_ids=())
        )
    assert caught.value.problems[0].code == "model.head_unknown"


def test_layers_of_different_widths_are_counted_one_by_one() -> None:
    """Gemma 4 tells the width of a head only layer by layer."""
    answers = TorchEngine(random_model("gemma4_text", attention="eager"), pad_id=0).generate(
        PROMPTS, Sampling(max_new_tokens=2, stop_ids=())
    )
    assert [len(answer.token_ids) for answer in answers] == [2, 2]
