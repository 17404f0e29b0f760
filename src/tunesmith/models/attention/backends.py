# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Chooses the attention implementation of a run from the key `flash_attn`, the device and what is installed."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from tunesmith.core.errors import refusal
from tunesmith.core.optional import has_package
from tunesmith.models.attention.forest import FOREST, FOREST_BLOCKS, FOREST_VARLEN
from tunesmith.models.attention.varlen import PACKAGES

# FlashAttention's version → the oldest GPU generation it runs on (compute capability), and the newest.
_GENERATIONS = {2: ((8, 0), (99, 0)), 3: ((9, 0), (9, 9))}


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What decides about a back end: the device, and whether attention is computed in a 16-bit format."""

    device: torch.device
    is_short_format: bool
    has: Callable[[str], bool] = has_package
    capability: tuple[int, int] | None = None

    @classmethod
    def of(cls, device: torch.device, *, is_short_format: bool) -> "Surroundings":
        """Look at a device."""
        capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
        return cls(device=device, is_short_format=is_short_format, capability=capability)


@dataclass(frozen=True, kw_only=True)
class AttentionChoice:
    """An implementation's name for transformers, and why it was chosen."""

    implementation: str
    reason: str


def choose_backend(setting: str, around: Surroundings) -> AttentionChoice:
    """Obey `flash_attn`, or choose for auto; a FlashAttention that cannot run here is refused."""
    if setting in ("disabled", "sdpa"):
        name = "eager" if setting == "disabled" else "sdpa"
        return AttentionChoice(implementation=name, reason=f"transformers' {name} (flash_attn: {setting})")
    if setting == "auto":
        return _automatic(around)
    version = 2 if setting == "fa2" else 3
    obstacle = _obstacle(version, around)
    if obstacle is not None:
        raise refusal(
            "model.attention_unavailable",
            f"flash_attn is {setting}, but {obstacle}.",
            "Use flash_attn: auto, which takes the fastest attention that runs here.",
            key="flash_attn",
        )
    return _varlen(version, f"flash_attn: {setting}")


def _automatic(around: Surroundings) -> AttentionChoice:
    if around.device.type != "cuda":
        name = around.device.type.upper()
        return AttentionChoice(implementation=FOREST, reason=f"PyTorch's fused attention, segment by segment ({name})")
    obstacles = {version: _obstacle(version, around) for version in (3, 2)}
    for version, obstacle in obstacles.items():
        if obstacle is None:
            return _varlen(version, "installed")
    why = "; ".join(f"FlashAttention {version}: {obstacle}" for version, obstacle in obstacles.items())
    if around.has("triton"):
        return AttentionChoice(implementation=FOREST_BLOCKS, reason=f"FlexAttention with block masks ({why})")
    reason = f"PyTorch's fused attention, segment by segment ({why}; FlexAttention: triton is not installed)"
    return AttentionChoice(implementation=FOREST, reason=reason)


def _varlen(version: int, why: str) -> AttentionChoice:
    reason = f"FlashAttention {version}, trees and sinks through FlexAttention ({why})"
    return AttentionChoice(implementation=FOREST_VARLEN[version], reason=reason)


def _obstacle(version: int, around: Surroundings) -> str | None:
    """Say what keeps a version of FlashAttention from running here, if anything does."""
    if around.capability is None:
        return f"it needs an NVIDIA GPU and this run is on {around.device.type}"
    oldest, newest = _GENERATIONS[version]
    if not oldest <= around.capability <= newest:
        return f"it does not run on GPUs of compute capability {'.'.join(map(str, around.capability))}"
    if not around.is_short_format:
        return "it computes in bf16 or fp16 only and this run is in float32"
    if not around.has(PACKAGES[version]):
        return f"the package {PACKAGES[version]!r} is not installed"
    return None
