# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""compressed-tensors folders (llm-compressor's and vLLM's: W8A16, W4A16, FP8): read into plain weights.

transformers can keep them compressed, but adapters are then trained on layers that decompress in every pass.
"""

from typing import Any

from transformers import CompressedTensorsConfig

from tunesmith.models.quantizers.base import PlainReader, Quantization, quantizers


@quantizers.register("compressed-tensors")
class CompressedTensors(PlainReader):
    """Reads folders with compressed weights."""

    reads = ("compressed-tensors",)
    package = "compressed_tensors"

    def options(self, wanted: Quantization | None) -> dict[str, Any]:
        """Ask transformers to decompress."""
        return {"quantization_config": CompressedTensorsConfig(dequantize=True)}
