# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""EETQ: 8-bit rows through kernels for NVIDIA GPUs, for which there is no package on the index (Python 3.11)."""

from tunesmith.models.quantizers.base import Quantizer, quantizers


@quantizers.register("eetq")
class Eetq(Quantizer):
    """Quantises linear layers with kernels that need a GPU."""

    package = "eetq"
    requirement = "eetq"
    refused = "it has no package for this Python, so nothing of it could be tried"
