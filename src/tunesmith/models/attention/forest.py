# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The attention implementation "forest" of transformers' public interfaces.

With `layout` among the keyword arguments of a model's forward it attends segment by segment; without, it is sdpa with
ordinary masks (padding, cache, generation), or the plain formula where a model caps its scores.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from tunesmith.core.types import ForestLayout
from tunesmith.models.attention.segments import AttentionRule, attend, attend_forest

FOREST = "forest"


def layout_mask(device: torch.device) -> Tensor:
    """Give the mask to pass beside a layout: models hand a 4-D mask on as it is and build no T×T one.

    The forest ignores it; a model that drops the layout on the way is caught by its impossible shape.
    """
    return torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)


def forest_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attend by the layout when there is one, else as sdpa does."""
    assert options.get("s_aux") is None, "attention sinks need another implementation than forest"
    layout: ForestLayout | None = options.pop("layout", None)
    rule = AttentionRule(
        scaling=options.get("scaling"),
        dropout=options.get("dropout", 0.0),
        window=options.get("sliding_window"),
        softcap=options.pop("softcap", None),
    )
    if layout is not None:
        return _token_major(attend_forest(query, key, value, layout=layout, rule=rule)), None
    assert attention_mask is None or attention_mask.numel() > 1 or key.shape[2] == 1, "the layout was lost on the way"
    if rule.softcap is None:
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return output, None
    if attention_mask is None and query.shape[2] > 1:  # first reading into a static cache, which is longer
        key, value = key[:, :, : query.shape[2]], value[:, :, : query.shape[2]]
    return _token_major(attend(query, key, value, mask=attention_mask, rule=rule)), None


def _token_major(output: Tensor) -> Tensor:
    return output.transpose(1, 2).contiguous()


AttentionInterface.register(FOREST, forest_attention)
AttentionMaskInterface.register(FOREST, sdpa_mask)
