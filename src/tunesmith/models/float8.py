# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Linear layers that multiply in 8-bit floats (torchao), for GPUs that do; weights and optimizer keep their format."""

from typing import Any

import torch
from torch import nn

from tunesmith.core.errors import refusal
from tunesmith.core.optional import import_optional
from tunesmith.models.anatomy import base_model

_CAPABILITY = (8, 9)
_MULTIPLE = 16


def refuse_float8(device: torch.device, *, backend: str, finetuning_type: str) -> None:
    """Refuse a device that cannot, a library that is not used here, or frozen weights, which gain nothing."""
    if backend not in ("auto", "torchao"):
        raise _refused("fp8_backend", f"fp8_backend {backend} is not used here: torchao does it.", "Write torchao.")
    if finetuning_type != "full":
        raise _refused("fp8", f"fp8 is for finetuning_type full, not {finetuning_type}.", "Leave fp8 out.")
    if device.type != "cuda":
        raise _refused("fp8", f"fp8 needs an NVIDIA GPU; this run is on {device.type}.", "Write bf16: true.")
    found = torch.cuda.get_device_capability(device)
    if found < _CAPABILITY:
        wanted = ".".join(map(str, _CAPABILITY))
        raise _refused("fp8", f"fp8 needs compute capability {wanted}, this GPU has {found}.", "Write bf16: true.")


def use_float8(model: nn.Module, *, emulate: bool = False) -> list[str]:
    """Convert the linear layers inside the model whose sides are multiples of 16, and name them; not the head."""
    float8 = import_optional("torchao.float8", extra="quant", needed_for="fp8")
    head: Any = base_model(model).get_output_embeddings()
    chosen: list[str] = []

    def fits(module: nn.Module, name: str) -> bool:
        is_linear = isinstance(module, nn.Linear) and module is not head
        if not (is_linear and all(side % _MULTIPLE == 0 for side in module.weight.shape)):  # type: ignore[union-attr]
            return False
        chosen.append(name)
        return True

    config = float8.Float8LinearConfig(emulate=emulate)
    float8.convert_to_float8_training(model, config=config, module_filter_fn=fits)
    return chosen


def _refused(key: str, message: str, remedy: str) -> Exception:
    return refusal("training.precision_unsupported", message, remedy, key=key)
