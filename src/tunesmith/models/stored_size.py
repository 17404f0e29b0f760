# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""How many numbers a weight stands for, and how many bytes it takes: quantised tensors tell both in their own way."""

from typing import Any

from torch import Tensor


def num_values(weight: Tensor) -> int:
    """Count the numbers of a weight as the model computes with them; 4-bit storage holds two in a byte."""
    state: Any = weight.__dict__.get("quant_state")  # bitsandbytes
    return weight.numel() if state is None else int(state.shape.numel())


def num_bytes(weight: Tensor) -> int:
    """Count the bytes of a weight in memory, with the scales of its blocks or rows."""
    fields: dict[str, Any] = weight.__dict__
    parts = [weight]
    if type(weight.data).__module__.startswith("torchao."):
        inner: Any = weight.data
        parts = [getattr(inner, name) for name in inner.__tensor_flatten__()[0]]
    elif fields.get("quant_state") is not None:
        state = fields["quant_state"]
        nested = [state.state2.absmax] if state.nested else []
        parts += [state.absmax, *nested]
    elif isinstance(fields.get("SCB"), Tensor):
        parts.append(fields["SCB"])
    return sum(part.numel() * part.element_size() for part in parts)
