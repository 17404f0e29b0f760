# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""AQLM folders (arXiv 2401.06118): additive codebooks of 2 bits, computed with by Triton kernels."""

from tunesmith.models.quantizers.base import Quantizer, quantizers


@quantizers.register("aqlm")
class Aqlm(Quantizer):
    """Reads folders with AQLM weights."""

    reads = ("aqlm",)
    package = "aqlm"
    requirement = "aqlm[gpu]"
    needs_gpu = True
