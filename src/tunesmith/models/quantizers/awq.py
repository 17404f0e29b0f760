# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""AWQ folders (arXiv 2306.00978), read by gptqmodel."""

from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.models.quantizers.base import Quantizer, quantizers
from tunesmith.models.quantizers.gptq import REQUIREMENT


@quantizers.register("awq")
class Awq(Quantizer):
    """Reads folders with AWQ weights."""

    reads = ("awq",)
    package = "gptqmodel"
    requirement = REQUIREMENT

    def owns(self, module: nn.Module) -> bool:
        """Say whether a module is one of gptqmodel's linear layers for AWQ."""
        kind = type(module)
        is_linear = kind.__module__.startswith("gptqmodel.") and kind.__name__.endswith("Linear")
        return is_linear and "awq" in kind.__name__.lower()

    def weight_OI(self, module: Any) -> Tensor:
        """Dequantise; gptqmodel keeps inputs first."""
        values: Tensor = module.awq_weight_dequantize(device=module.qweight.device, dtype=torch.float32)
        return values.detach().T.contiguous()
