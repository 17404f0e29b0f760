# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Attention over a row of separate segments through FlashAttention's kernels for sequences of unequal lengths.

They know no trees and no sinks; such rows take another way. Versions 2 (`flash_attn`) and 3 (`flash_attn_interface`).
"""

from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor

from tunesmith.core.optional import import_by_name
from tunesmith.core.types import NO_PARENT, ForestLayout
from tunesmith.models.attention.rule import AttentionRule

PACKAGES = {2: "flash_attn", 3: "flash_attn_interface"}
_WIDEST_HEAD = 256


def suits_varlen(query: Tensor, *, layout: ForestLayout, rule: AttentionRule) -> bool:
    """Say whether these kernels can attend this row: no trees, no sinks, a short number format, no wide heads."""
    is_plain = rule.sinks is None and rule.dropout == 0.0 and query.dtype in (torch.bfloat16, torch.float16)
    is_narrow = query.shape[-1] <= _WIDEST_HEAD
    return is_plain and is_narrow and all(parent == NO_PARENT for parent in layout.parents)


def attend_varlen(
    query: Tensor, key: Tensor, value: Tensor, *, layout: ForestLayout, rule: AttentionRule, version: int
) -> Tensor:
    """Attend within each segment of the one row of a batch, giving [1, T, heads, Dv]."""
    bounds, longest = _bounds(layout, query.device)
    width = value.shape[-1]
    if version == 2 and width < query.shape[-1]:  # its values are as wide as its keys; zeros change nothing
        value = torch.nn.functional.pad(value, (0, query.shape[-1] - width))
    output: Any = _kernel(version)(
        *(tensor[0].transpose(0, 1) for tensor in (query, key, value)),
        cu_seqlens_q=bounds,
        cu_seqlens_k=bounds,
        max_seqlen_q=longest,
        max_seqlen_k=longest,
        softmax_scale=rule.scale(query.shape[-1]),
        causal=True,
        window_size=(-1, -1) if rule.window is None else (rule.window - 1, 0),
        softcap=rule.softcap or 0.0,
    )
    states: Tensor = output[0] if isinstance(output, tuple) else output  # early releases of version 3 add log-sums
    return states[None, ..., :width]


@cache
def _kernel(version: int) -> Any:
    return import_by_name(PACKAGES[version]).flash_attn_varlen_func


@lru_cache(maxsize=4)  # all layers of a step ask for the same
def _bounds(layout: ForestLayout, device: torch.device) -> tuple[Tensor, int]:
    """Where each segment begins, with the end, as the kernels want it; and the longest segment."""
    filled = [(start, end) for start, end in zip(layout.starts, layout.ends, strict=True) if end > start]
    bounds = torch.tensor([0, *(end for _, end in filled)], dtype=torch.int32, device=device)
    return bounds, max(end - start for start, end in filled)
