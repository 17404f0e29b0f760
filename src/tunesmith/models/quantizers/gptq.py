# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""GPTQ folders (arXiv 2210.17323) through gptqmodel, which made them with calibration.

gptqmodel 7.5.0 is the last that works beside torch 2.13. It is built from source and holds numpy below 2.3, so it has
an extra of its own.
"""

from typing import Any

from torch import Tensor, nn

from tunesmith.models.quantizers.base import Quantizer, quantizers

REQUIREMENT = "tunesmith[gptq]' --no-build-isolation -U 'setuptools>=77"


@quantizers.register("gptq")
class Gptq(Quantizer):
    """Reads folders with GPTQ weights."""

    reads = ("gptq",)
    package = "gptqmodel"
    requirement = REQUIREMENT

    def owns(self, module: nn.Module) -> bool:
        """Say whether a module is one of gptqmodel's linear layers."""
        kind = type(module)
        is_linear = kind.__module__.startswith("gptqmodel.") and kind.__name__.endswith("Linear")
        return is_linear and "awq" not in kind.__name__.lower()

    def weight_OI(self, module: Any) -> Tensor:
        """Dequantise; gptqmodel keeps inputs first."""
        values: Tensor = module.dequantize_weight()
        return values.detach().T.contiguous().float()
