# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""AWQ folders (arXiv 2306.00978), read by gptqmodel, whose layers dequantise in the way of its GPTQ ones."""

from tunesmith.models.quantizers.base import Quantizer, quantizers
from tunesmith.models.quantizers.gptq import REQUIREMENT


@quantizers.register("awq")
class Awq(Quantizer):
    """Reads folders with AWQ weights; their layers are those of `gptq`."""

    reads = ("awq",)
    package = "gptqmodel"
    requirement = REQUIREMENT
