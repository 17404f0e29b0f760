# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Quanto: refused. optimum-quanto 0.2.7 is unmaintained; what it saves is refused and its merges are wrong."""

from tunesmith.models.quantizers.base import Quantizer, quantizers


@quantizers.register("quanto")
class Quanto(Quantizer):
    """Known by name only."""

    package = "optimum-quanto"
    refused = "it is unmaintained since March 2025; adapters on it were merged wrongly (logits off by 7)"
