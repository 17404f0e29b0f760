# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Attention over a forest of segments, one scaled-dot-product call a segment: the reference, exact on any device.

It knows tensors and the layout, nothing of models. Shapes: query [B, heads, T, D]; key and value may have fewer heads.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from tunesmith.core.types import ForestLayout
from tunesmith.models.attention.rule import AttentionRule, is_faster_in_float32

Span = tuple[int, int]


def attend_forest(query: Tensor, key: Tensor, value: Tensor, *, layout: ForestLayout, rule: AttentionRule) -> Tensor:
    """Attend within each segment and to its ancestors in the one row of a batch, giving [1, heads, T, Dv]."""
    assert query.shape[0] == 1 and key.shape[2] == query.shape[2] == layout.ends[-1], "the layout does not fit the row"
    outputs = []
    for segment, (start, end) in enumerate(zip(layout.starts, layout.ends, strict=True)):
        if end > start:
            path = _path_spans(layout, segment)
            keys, values = _gather(key, path), _gather(value, path)
            mask = _path_mask(end - start, keys.shape[2], rule.window, query.device)
            outputs.append(attend(query[:, :, start:end], keys, values, mask=mask, rule=rule))
    return torch.cat(outputs, dim=2)


def attend(query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None, rule: AttentionRule) -> Tensor:
    """Attend through torch's fused attention, or by the plain formula with soft-cap or sinks; no mask means causal."""
    if rule.softcap is not None or rule.sinks is not None:
        return _attend_plainly(query, key, value, mask, rule)
    if query.device.type == "cpu" and is_faster_in_float32(query.dtype, key.shape[2]):
        with torch.autocast("cpu", enabled=False):  # autocast would shorten them again
            return attend(query.float(), key.float(), value.float(), mask=mask, rule=rule).to(query.dtype)
    groups = query.shape[1] // key.shape[1]
    if mask is not None and groups > 1:  # GPU kernels do not take both a mask and grouped heads
        key, value, groups = _repeat_heads(key, groups), _repeat_heads(value, groups), 1
    return F.scaled_dot_product_attention(
        query, key, value, mask, rule.dropout, is_causal=mask is None, scale=rule.scaling, enable_gqa=groups > 1
    )


def _attend_plainly(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, rule: AttentionRule) -> Tensor:
    groups = query.shape[1] // key.shape[1]
    key, value = _repeat_heads(key, groups), _repeat_heads(value, groups)
    scores = query @ key.transpose(2, 3) * rule.scale(query.shape[-1])
    if rule.softcap is not None:
        scores = torch.tanh(scores / rule.softcap) * rule.softcap
    if mask is None:
        mask = _causal(query.shape[2], key.shape[2], query.device)
    is_additive = mask.dtype != torch.bool
    scores = scores + mask if is_additive else scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    if rule.sinks is not None:  # a further column of every head that takes weight and gives no value (gpt-oss)
        column = rule.sinks.to(scores.dtype).view(1, -1, 1, 1).expand(scores.shape[0], -1, scores.shape[2], 1)
        scores = torch.cat([scores, column], dim=-1)
    weights = F.softmax(scores, dim=-1, dtype=torch.float32).to(value.dtype)
    return F.dropout(weights[..., : key.shape[2]], rule.dropout) @ value


def _path_spans(layout: ForestLayout, segment: int) -> list[Span]:
    """Spans of the ancestors, root first, and the segment; neighbours joined, so that most paths are one slice."""
    spans: list[Span] = []
    for index in (*layout.ancestors(segment), segment):
        start, end = layout.starts[index], layout.ends[index]
        if spans and spans[-1][1] == start:
            spans[-1] = (spans[-1][0], end)
        elif end > start:
            spans.append((start, end))
    return spans


def _gather(tensor: Tensor, spans: list[Span]) -> Tensor:
    parts = [tensor[:, :, start:end] for start, end in spans]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


def _path_mask(num_queries: int, num_keys: int, window: int | None, device: torch.device) -> Tensor | None:
    """Mask for the last `num_queries` tokens of a path of `num_keys`; None where plain causal says the same."""
    if window is not None and window < num_keys:
        return _causal(num_queries, num_keys, device).triu(num_keys - num_queries - window + 1)
    return None if num_queries == num_keys else _causal(num_queries, num_keys, device)


def _causal(num_queries: int, num_keys: int, device: torch.device) -> Tensor:
    return torch.ones(num_queries, num_keys, dtype=torch.bool, device=device).tril(num_keys - num_queries)


def _repeat_heads(tensor: Tensor, groups: int) -> Tensor:
    return tensor if groups == 1 else tensor.repeat_interleave(groups, dim=1)
