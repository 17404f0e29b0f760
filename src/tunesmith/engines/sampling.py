# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The choice of the next token from logits: greedy or sampled, with the usual filters. Pure functions."""

import torch
from torch import Tensor

from tunesmith.core.types import Sampling


def choose_tokens(logits_BV: Tensor, seen_BV: Tensor | None, sampling: Sampling, draws_B: Tensor | None) -> Tensor:
    """Choose one token a row [B]; `draws_B` are uniform numbers, one a row, used only when sampling.

    `seen_BV` marks tokens that the repetition penalty (Keskar et al. 2019, arXiv:1909.05858) makes less likely.
    """
    scores_BV = logits_BV
    if seen_BV is not None:
        penalised_BV = torch.where(
            scores_BV > 0, scores_BV / sampling.repetition_penalty, scores_BV * sampling.repetition_penalty
        )
        scores_BV = torch.where(seen_BV, penalised_BV, scores_BV)
    if draws_B is None:
        return scores_BV.argmax(dim=-1)
    return _draw(scores_BV / sampling.temperature, sampling, draws_B)


def _draw(scores_BV: Tensor, sampling: Sampling, draws_B: Tensor) -> Tensor:
    """Sample by the inverse of the cumulative distribution over tokens in falling order."""
    count = min(sampling.top_k, scores_BV.shape[-1]) if sampling.top_k > 0 else scores_BV.shape[-1]
    sorted_BK, ids_BK = scores_BV.topk(count, dim=-1)
    probabilities_BK = sorted_BK.softmax(dim=-1)
    if sampling.top_p < 1.0:
        # A token stays while the more likely ones together have not reached top_p; the first always stays.
        before_BK = probabilities_BK.cumsum(dim=-1) - probabilities_BK
        probabilities_BK = probabilities_BK.masked_fill(before_BK >= sampling.top_p, 0.0)
    cumulative_BK = probabilities_BK.cumsum(dim=-1)
    targets_B1 = draws_B[:, None] * cumulative_BK[:, -1:]
    places_B1 = torch.searchsorted(cumulative_BK, targets_B1, right=True)
    last_B1 = (probabilities_BK > 0).sum(dim=-1, keepdim=True) - 1
    return ids_BK.gather(-1, torch.minimum(places_B1, last_B1))[:, 0]
