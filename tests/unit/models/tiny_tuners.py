# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Tuners for tests: every registered one with keys that fit the tiny models."""

from typing import Any

import torch
from torch import Tensor

from tests.unit.models.tiny_models import VOCABULARY
from tunesmith.models.tuners.base import Tuner, trained_parameters, tuners

NAMES = tuners.names()
IDS = torch.randint(3, VOCABULARY, (2, 11), generator=torch.Generator().manual_seed(0))
# Keys without which a method's defaults are too large for, or mean nothing on, a model of width 32.
TINY_KEYS: dict[str, dict[str, Any]] = {
    "adapter": {"adapter_length": 8},
    "fourierft": {"fourier_n_frequency": 50},
    "llamapro": {"llamapro_num_new_blocks": 1},
    "miss": {"miss_rank": 8},
    "prefix_tuning": {"prefix_num_tokens": 4},
    "prompt_tuning": {"prompt_num_tokens": 4},
    "trainable_tokens": {"trainable_token_ids": tuple(range(3, 40))},
    "vblora": {"vblora_vector_length": 8, "vblora_num_vectors": 16},
    "vera": {"vera_rank": 8},
}
# Steps of plain gradient descent that move a method visibly on a tiny model: trained values differ that much in scale.
STEP_SIZES = {"fourierft": 50.0, "vera": 10.0, "ia3": 2.0, "vblora": 5.0, "adalora": 5.0}


def build(name: str, *, seed: int = 1, pure_bf16: bool = False, **keys: Any) -> Tuner:
    """Build a tuner by name."""
    kind = tuners.get(name)
    params = kind.Params.model_validate({**TINY_KEYS.get(name, {}), **keys})
    return kind(params, seed=seed, pure_bf16=pure_bf16)


def logits(model: Any) -> Tensor:
    """Give the logits of the test's ids."""
    with torch.no_grad():
        result: Tensor = model(input_ids=IDS).logits
    return result


def train(model: Any, steps: int = 2, *, step_size: float = 0.5) -> None:
    """Take some steps of plain gradient descent."""
    optimizer = torch.optim.SGD([parameter for _, parameter in trained_parameters(model)], lr=step_size)
    for _ in range(steps):
        optimizer.zero_grad()
        output = model(input_ids=IDS).logits[:, :-1].float()
        torch.nn.functional.cross_entropy(output.flatten(0, 1), IDS[:, 1:].flatten()).backward()
        optimizer.step()
