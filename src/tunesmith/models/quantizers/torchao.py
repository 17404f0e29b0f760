# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""torchao: weights in 8 bits a row or 4 bits a group of 32, kept as tensors inside ordinary linear layers.

Its packed 4-bit form needs a GPU; the form used here computes everywhere but takes a byte for each 4-bit value.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import TorchAoConfig

from tunesmith.core.optional import import_optional
from tunesmith.models.quantizers.base import Quantization, Quantizer, quantizers

GROUP = 32
_INT4: torch.dtype = vars(torch)["int4"]  # torch's stubs do not know it


@quantizers.register("torchao")
class TorchAo(Quantizer):
    """Quantises linear layers but the head while they load."""

    bits = (8, 4)
    reads = ("torchao",)
    package = "torchao"

    def options(self, wanted: Quantization | None) -> dict[str, Any]:
        """Ask transformers for weight-only tensors; quantised folders ask for them themselves."""
        if wanted is None:
            return {}
        ao: Any = import_optional("torchao.quantization", extra="quant", needed_for="quantization_method: torchao")
        if wanted.bits == 8:
            kind = ao.IntxWeightOnlyConfig(weight_dtype=torch.int8, granularity=ao.PerAxis(0))
        else:
            kind = ao.IntxWeightOnlyConfig(weight_dtype=_INT4, granularity=ao.PerGroup(GROUP))
        return {"quantization_config": TorchAoConfig(kind)}

    def owns(self, module: nn.Module) -> bool:
        """Say whether a linear layer's weight is one of torchao's tensors."""
        return isinstance(module, nn.Linear) and type(module.weight.data).__module__.startswith("torchao.")

    def weight_OI(self, module: Any) -> Tensor:
        """Dequantise."""
        values: Tensor = module.weight.dequantize()
        return values.detach().float()
