# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Short spans in short formats are attended in float32 on the CPU, so they lose nothing but their own rounding."""

import torch

from tunesmith.models.attention.rule import AttentionRule
from tunesmith.models.attention.segments import attend


def test_short_spans_lose_nothing_but_the_rounding_of_the_result() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, heads, 40, 16, generator=generator).bfloat16() for heads in (4, 2, 2))
    exact = attend(query.float(), key.float(), value.float(), mask=None, rule=AttentionRule())
    with torch.autocast("cpu", torch.bfloat16):
        short = attend(query, key, value, mask=None, rule=AttentionRule())
    assert short.dtype == torch.bfloat16
    assert torch.equal(short, exact.bfloat16())
