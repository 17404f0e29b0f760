# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""MXFP4 folders (gpt-oss: experts in 4-bit blocks of 32): read into plain weights, which are then trained on."""

from typing import Any

from transformers.utils.quantization_config import Mxfp4Config

from tunesmith.models.quantizers.base import PlainReader, Quantization, quantizers


@quantizers.register("mxfp4")
class Mxfp4(PlainReader):
    """Reads folders with MXFP4 weights."""

    reads = ("mxfp4",)

    def options(self, wanted: Quantization | None) -> dict[str, Any]:
        """Ask transformers to multiply the scales in."""
        return {"quantization_config": Mxfp4Config(dequantize=True)}
