# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The choice of an attention back end: by key, device, number format and packages, with its reason."""

import pytest
import torch

from tunesmith.core.errors import TunesmithError
from tunesmith.models.attention.backends import Surroundings, choose_backend


def around(*packages: str, capability: tuple[int, int] | None = None, is_short: bool = True) -> Surroundings:
    device = torch.device("cpu" if capability is None else "cuda")
    return Surroundings(
        device=device, is_short_format=is_short, has=lambda name: name in packages, capability=capability
    )


@pytest.mark.parametrize(
    ("setting", "surroundings", "implementation", "reason"),
    [
        ("disabled", around(), "eager", "disabled"),
        ("sdpa", around(), "sdpa", "sdpa"),
        ("auto", around(), "forest", "CPU"),
        ("auto", around("triton", capability=(8, 0)), "forest_blocks", "'flash_attn' is not installed"),
        ("auto", around("triton", "flash_attn", capability=(8, 0)), "forest_varlen2", "FlashAttention 2"),
        ("auto", around("flash_attn", "flash_attn_interface", capability=(9, 0)), "forest_varlen3", "FlashAttention 3"),
        ("auto", around("triton", "flash_attn_interface", capability=(8, 0)), "forest_blocks", "capability 8.0"),
        ("auto", around("triton", "flash_attn", capability=(7, 5)), "forest_blocks", "capability 7.5"),
        ("auto", around("triton", "flash_attn", capability=(8, 0), is_short=False), "forest_blocks", "float32"),
        ("auto", around(capability=(8, 0)), "forest", "triton is not installed"),
        ("fa2", around("flash_attn", capability=(8, 6)), "forest_varlen2", "fa2"),
        ("fa3", around("flash_attn_interface", capability=(9, 0)), "forest_varlen3", "fa3"),
    ],
)
def test_choices(setting: str, surroundings: Surroundings, implementation: str, reason: str) -> None:
    choice = choose_backend(setting, surroundings)
    assert choice.implementation == implementation and reason in choice.reason


@pytest.mark.parametrize(
    ("setting", "surroundings", "reason"),
    [
        ("fa2", around("flash_attn"), "this run is on cpu"),
        ("fa2", around(capability=(8, 0)), "'flash_attn' is not installed"),
        ("fa3", around("flash_attn_interface", capability=(8, 0)), "compute capability 8.0"),
        ("fa2", around("flash_attn", capability=(8, 0), is_short=False), "float32"),
    ],
)
def test_flash_attention_that_cannot_run_is_refused(setting: str, surroundings: Surroundings, reason: str) -> None:
    with pytest.raises(TunesmithError, match=reason) as caught:
        choose_backend(setting, surroundings)
    assert caught.value.problems[0].code == "model.attention_unavailable"
