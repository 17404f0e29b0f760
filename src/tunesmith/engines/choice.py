# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Chooses the next token of each row from logits: greedy, or drawn with a random number of the row's own.

Penalty, temperature, top-k and top-p mean and follow each other as in transformers.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tunesmith.core.types import Sampling


class TokenChooser:
    """The choice for the rows of one batch; `rows` are their numbers among all prompts, which seed their draws."""

    def __init__(self, sampling: Sampling, rows: Sequence[int]) -> None:
        self._sampling = sampling
        self._draws = [np.random.default_rng([sampling.seed, row]) for row in rows]

    def choose(self, logits_BV: Tensor, seen: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Give ids [B] and their log-probs [B] in the model's own distribution; `seen` are each row's tokens so far."""
        logps_BV = logits_BV.log_softmax(dim=-1)
        scores_BV = self._penalised(logits_BV, seen)
        if self._sampling.do_sample:
            ids_B = self._drawn(scores_BV)
        else:
            ids_B = scores_BV.argmax(dim=-1)
        return ids_B, logps_BV.gather(-1, ids_B[:, None])[:, 0]

    def keep(self, indices: Sequence[int]) -> None:
        """Keep some rows of the batch."""
        self._draws = [self._draws[index] for index in indices]

    def _penalised(self, logits_BV: Tensor, seen: Sequence[Sequence[int]]) -> Tensor:
        penalty = self._sampling.repetition_penalty
        if penalty == 1.0:
            return logits_BV
        scores_BV = logits_BV.clone()
        for row, tokens in zip(scores_BV, seen, strict=True):
            places = torch.tensor(sorted(set(tokens)), device=row.device)
            values = row[places]
            row[places] = torch.where(values < 0, values * penalty, values / penalty)
        return scores_BV

    def _drawn(self, scores_BV: Tensor) -> Tensor:
        sampling = self._sampling
        sorted_BV, ids_BV = (scores_BV / sampling.temperature).sort(dim=-1, descending=True, stable=True)
        if sampling.top_k > 0:
            # Equals of the last score kept are kept too.
            sorted_BV = sorted_BV.masked_fill(sorted_BV < sorted_BV[:, : sampling.top_k][:, -1:], -torch.inf)
        probabilities_BV = sorted_BV.softmax(dim=-1)
        if sampling.top_p < 1.0:
            before_BV = probabilities_BV.cumsum(dim=-1) - probabilities_BV
            probabilities_BV = probabilities_BV.masked_fill(before_BV >= sampling.top_p, 0.0)
        cumulative_BV = probabilities_BV.double().cumsum(dim=-1)
        draws_B1 = torch.tensor([draw.random() for draw in self._draws], dtype=torch.float64)[:, None]
        limits_B1 = draws_B1.to(cumulative_BV.device) * cumulative_BV[:, -1:]
        places_B1 = (cumulative_BV <= limits_B1).sum(dim=-1, keepdim=True)
        return ids_BV.gather(-1, places_B1)[:, 0]
