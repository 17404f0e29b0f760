# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What a layer asks of attention besides the layout, and in which number format the CPU should compute it."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

# Up to this many keys float32 attention is faster than bf16 on a CPU with AMX (measured: docs/decisions.md).
_FLOAT32_KEYS = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class AttentionRule:
    """Scale, dropout, window, cap and sinks of one layer.

    `window` counts tokens along a segment's own path (itself and its ancestors), as if the path stood alone;
    `softcap` squashes scores to ±softcap (Gemma 2); `sinks` [heads] are scores of a key without value (gpt-oss).
    """

    scaling: float | None = None
    dropout: float = 0.0
    window: int | None = None
    softcap: float | None = None
    sinks: Tensor | None = None

    def scale(self, width: int) -> float:
        """Give the factor of the scores for queries of some width."""
        return width**-0.5 if self.scaling is None else self.scaling


def is_faster_in_float32(dtype: torch.dtype, num_keys: int) -> bool:
    """Say whether the CPU attends faster in float32 (and more exactly): without AMX always, with it on short spans."""
    return dtype in (torch.bfloat16, torch.float16) and (num_keys <= _FLOAT32_KEYS or not _has_amx())


@cache
def _has_amx() -> bool:
    return bool(torch.cpu._is_amx_tile_supported())
