# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The attention implementations "forest…" of transformers' public interfaces, one a back end.

With `layout` among the keyword arguments of a model's forward they attend by segments and their ancestors; without,
they are sdpa with ordinary masks (padding, cache, generation), or the plain formula where a model caps its scores or
lets them drain into sinks.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from tunesmith.core.types import ForestLayout
from tunesmith.models.attention.block_masks import attend_blocks
from tunesmith.models.attention.cpu import attend_on_cpu
from tunesmith.models.attention.rule import AttentionRule
from tunesmith.models.attention.segments import attend, attend_forest
from tunesmith.models.attention.varlen import attend_varlen, suits_varlen

FOREST = "forest"
FOREST_BLOCKS = "forest_blocks"
FOREST_VARLEN = {2: "forest_varlen2", 3: "forest_varlen3"}
FOREST_NAMES = frozenset({FOREST, FOREST_BLOCKS, *FOREST_VARLEN.values()})


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
    backend: str = FOREST,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attend by the layout when there is one, else as sdpa does; `backend` is one of FOREST_NAMES."""
    layout: ForestLayout | None = options.pop("layout", None)
    rule = AttentionRule(
        scaling=options.get("scaling"),
        dropout=options.get("dropout", 0.0),
        window=options.get("sliding_window"),
        softcap=options.pop("softcap", None),
        sinks=options.pop("s_aux", None),
    )
    if layout is not None:
        states: Tensor = _attend_layout(query, key, value, layout=layout, rule=rule, backend=backend)
        return states, None
    assert attention_mask is None or attention_mask.numel() > 1 or key.shape[2] == 1, "the layout was lost on the way"
    if rule.softcap is None and rule.sinks is None:
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return output, None
    if attention_mask is None and query.shape[2] > 1:  # first reading into a static cache, which is longer
        key, value = key[:, :, : query.shape[2]], value[:, :, : query.shape[2]]
    return _token_major(attend(query, key, value, mask=attention_mask, rule=rule)), None


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    layout: ForestLayout,
    rule: AttentionRule,
    backend: str,
) -> Tensor:
    assert query.shape[0] == 1 and key.shape[2] == query.shape[2] == layout.ends[-1], "the layout does not fit the row"
    if rule.dropout == 0.0 and query.device.type == "cpu" and backend == FOREST:
        return attend_on_cpu(query, key, value, layout=layout, rule=rule)
    if rule.dropout == 0.0 and backend != FOREST:
        query, key, value = _of_one_format(query, key, value)
        if backend != FOREST_BLOCKS and suits_varlen(query, layout=layout, rule=rule):
            version = 2 if backend == FOREST_VARLEN[2] else 3
            return attend_varlen(query, key, value, layout=layout, rule=rule, version=version)
        return attend_blocks(query, key, value, layout=layout, rule=rule)
    return _token_major(attend_forest(query, key, value, layout=layout, rule=rule))


# The layout changes with every batch: compiled, it would be compiled anew each time.
_attend_layout: Any = torch.compiler.disable(_attend)


def _of_one_format(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Give tensors in autocast's format, or the values': kernels of our own choice are not known to autocast."""
    device = tensors[0].device.type
    is_automatic = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if is_automatic else tensors[-1].dtype
    return tuple(tensor.to(dtype) for tensor in tensors)


def _token_major(output: Tensor) -> Tensor:
    return output.transpose(1, 2).contiguous()


for _name in sorted(FOREST_NAMES):
    AttentionInterface.register(_name, partial(forest_attention, backend=_name))
    AttentionMaskInterface.register(_name, sdpa_mask)
