# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Scores under a scalar head: the value of each segment's path, read at the segment's last token.

A prompt that several answers share is computed once; its path's value is that of the path alone.
"""

import torch
from torch import Tensor, nn

from tunesmith.core.types import Batch, Scores
from tunesmith.models.reward_head import values_of
from tunesmith.models.scores import hidden_states


def score_values(model: nn.Module, batch: Batch) -> Scores:
    """Read the scalar head at the last token of each segment; segments without targets of a padded batch have no value.

    Every answer has a target (its stop token), so every answer has its value.
    """
    states_SD = hidden_states(model, batch).index_select(0, last_tokens(batch))
    values_S = values_of(model, states_SD)
    return Scores(logps_N=values_S.new_zeros(0), values_S=values_S)


def last_tokens(batch: Batch) -> Tensor:
    """Give the place of each segment's last token among the flattened B·T states."""
    device = batch.input_ids_BT.device
    if batch.layout is not None:
        ends = batch.layout.ends[: len(batch.segment_names)]
        return torch.tensor(ends, dtype=torch.long, device=device) - 1
    assert batch.attention_mask_BT is not None, "a batch without a layout is padded"
    width = batch.input_ids_BT.shape[1]
    row_S = torch.zeros(len(batch.segment_names), dtype=torch.long, device=device)
    row_S[batch.target_segment_N] = batch.source_index_N // width
    return row_S * width + batch.attention_mask_BT.sum(dim=1)[row_S] - 1
