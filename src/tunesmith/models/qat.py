# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Quantisation-aware training: linear layers compute with rounded weights, and the exact ones behind them are trained.

The rounding is torchao's and the same as in loading by `quantization_method: torchao`, so what is loaded afterwards in
8 or 4 bits computes what was trained. Gradients pass the rounding unchanged (straight through).
"""

from typing import Any

import torch
from torch import nn

from tunesmith.core.errors import refusal
from tunesmith.core.optional import import_optional
from tunesmith.models.anatomy import base_model
from tunesmith.models.quantizers.base import Quantization
from tunesmith.models.quantizers.torchao import GROUP

BITS = {"int8": 8, "int4": 4}
_INT4: torch.dtype = vars(torch)["int4"]  # torch's stubs do not know it


def quantization_of(qat: str) -> Quantization:
    """Say how weights that were trained this way are quantised when they are used."""
    return Quantization(method="torchao", bits=BITS[qat], dtype="float32")


def prepare_qat(model: nn.Module, qat: str) -> None:
    """Let the linear layers but the head round their weights in every forward pass, in place; names stay the same."""
    ao: Any = import_optional("torchao.quantization", extra="quant", needed_for=f"qat: {qat}")
    aware: Any = import_optional("torchao.quantization.qat", extra="quant", needed_for=f"qat: {qat}")
    head = base_model(model).get_output_embeddings()
    chosen = {name for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not head}
    if qat == "int8":
        rounding = aware.IntxFakeQuantizeConfig(torch.int8, "per_channel", is_symmetric=True)
    else:
        _refuse_broken_groups(model, chosen)
        rounding = aware.IntxFakeQuantizeConfig(_INT4, group_size=GROUP, is_symmetric=True)
    ao.quantize_(
        model,
        aware.QATConfig(weight_config=rounding, step="prepare"),
        filter_fn=lambda _, name: name in chosen,
    )


def _refuse_broken_groups(model: nn.Module, chosen: set[str]) -> None:
    for name in sorted(chosen):
        inputs = int(model.get_submodule(name).in_features)  # type: ignore[arg-type]  # a linear layer
        if inputs % GROUP:
            raise refusal(
                "model.quantization_unsupported",
                f"qat: int4 rounds groups of {GROUP} inputs, but {name} has {inputs}.",
                "Write qat: int8.",
                key="qat",
            )
