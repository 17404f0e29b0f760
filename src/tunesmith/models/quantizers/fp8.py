# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""FP8 folders with a scale for every block (DeepSeek's and Qwen's): read into plain weights, which are then trained on.

The kernels that compute with them as they are need a GPU and have no backward pass.
"""

from typing import Any

from transformers import FineGrainedFP8Config

from tunesmith.models.quantizers.base import PlainReader, Quantization, quantizers


@quantizers.register("fp8")
class Fp8(PlainReader):
    """Reads folders with FP8 weights."""

    reads = ("fp8",)

    def options(self, wanted: Quantization | None) -> dict[str, Any]:
        """Ask transformers to multiply the scales in."""
        return {"quantization_config": FineGrainedFP8Config(dequantize=True)}
