# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Lets PEFT's OFT rotate inputs of four dimensions in linear layers.

PEFT 0.21 takes every input of four dimensions for a picture (`OFTRotationModule.forward`), but latent attention
(DeepSeek-V3 in transformers 5.23) calls kv_b_proj with [batch, 1, tokens, width]. Delete when PEFT asks for the kind of
the layer; the test on DeepSeek-V3 shows it.
"""

from typing import Any

from peft.tuners.oft.layer import Linear
from torch import Tensor, nn


def accept_four_dimensions(model: nn.Module) -> None:
    """Join the leading dimensions of such inputs before every rotated linear layer, and part its results again."""
    for layer in model.modules():
        if isinstance(layer, Linear):
            _fold_calls(layer)


def _fold_calls(layer: nn.Module) -> None:
    folded: list[tuple[int, ...]] = []

    def before(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        states: Tensor = inputs[0]
        if states.ndim != 4:
            return None
        folded.append(tuple(states.shape[:2]))
        return (states.flatten(0, 1), *inputs[1:])

    def after(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> Tensor | None:
        return output.unflatten(0, folded.pop()) if folded else None

    layer.register_forward_pre_hook(before)
    layer.register_forward_hook(after)
