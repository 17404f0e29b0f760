# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Attention over a forest through FlexAttention: the layout as a block mask, one kernel for rows and trees.

Compiled on GPUs; on the CPU it runs uncompiled and forward only, which is for tests.
"""

from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, create_block_mask, flex_attention

from tunesmith.core.types import ForestLayout
from tunesmith.models.attention.rule import AttentionRule


def attend_blocks(query: Tensor, key: Tensor, value: Tensor, *, layout: ForestLayout, rule: AttentionRule) -> Tensor:
    """Attend within each segment and to its ancestors in the one row of a batch, giving [1, T, heads, Dv]."""
    assert rule.dropout == 0.0, "dropout takes the plain way"
    attention = _compiled() if query.is_cuda else flex_attention
    output, aux = attention(
        query,
        key,
        value,
        score_mod=None if rule.softcap is None else _capping(rule.softcap),
        block_mask=block_mask(layout, rule.window, query.device),
        scale=rule.scale(query.shape[-1]),
        enable_gqa=query.shape[1] != key.shape[1],
        return_aux=AuxRequest(lse=True),
    )
    if rule.sinks is not None:  # a sink is one more key without value: it only makes the others' shares smaller
        output = output * torch.sigmoid(aux.lse - rule.sinks.float()[None, :, None])[..., None].to(output.dtype)
    states: Tensor = output.transpose(1, 2).contiguous().to(value.dtype)
    return states


@lru_cache(maxsize=8)  # all layers of a step ask for the same one or two
def block_mask(layout: ForestLayout, window: int | None, device: torch.device) -> BlockMask:
    """Build the mask of a layout: a key counts for its own segment and its descendants, not after the query."""
    length, num_segments = layout.ends[-1], len(layout.starts)
    lengths = [end - start for start, end in zip(layout.starts, layout.ends, strict=True)]
    segment_T = torch.repeat_interleave(torch.arange(num_segments), torch.tensor(lengths)).to(device)
    position_T = torch.from_numpy(layout.positions()).to(device)
    sees_SS = torch.eye(num_segments, dtype=torch.bool)
    for segment in range(num_segments):
        sees_SS[segment, list(layout.ancestors(segment))] = True
    sees_SS = sees_SS.to(device)

    def is_seen(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        behind = position_T[query] - position_T[key]
        seen = sees_SS[segment_T[query], segment_T[key]] & (behind >= 0)
        return seen if window is None else seen & (behind < window)

    return create_block_mask(is_seen, None, None, length, length, device=str(device))


@lru_cache(maxsize=8)  # a new function would be compiled anew
def _capping(softcap: float) -> Any:
    def capped(score: Tensor, _batch: Tensor, _head: Tensor, _query: Tensor, _key: Tensor) -> Tensor:
        return torch.tanh(score / softcap) * softcap

    return capped


@cache
def _compiled() -> Any:
    return torch.compile(flex_attention, dynamic=True)
