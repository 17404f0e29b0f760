# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""From the scores of single tokens to the log-probs of the answers of pairs.

A row is a prompt with a chosen and one or several rejected answers: each rejected answer makes a pair with the chosen
one. With `ld_alpha` (LD-DPO, arXiv 2409.06411) tokens beyond the length of the pair's shorter answer weigh less, in
policy and reference alike, so that equal models still have the margin 0.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from tunesmith.core.types import Batch, Scores
from tunesmith.objectives.pair_losses.base import PairSums

_CHOSEN, _REJECTED = "chosen", "rejected"


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Which segments of a batch make its pairs."""

    chosen_P: Tensor
    rejected_P: Tensor


def pairs_of(batch: Batch) -> Pairs:
    """List the pairs of a batch: the chosen and a rejected segment of the same row."""
    rows = batch.segment_row_S.tolist()
    chosen = {rows[place]: place for place, name in enumerate(batch.segment_names) if name == _CHOSEN}
    rejected = [place for place, name in enumerate(batch.segment_names) if name == _REJECTED]
    device = batch.target_segment_N.device
    return Pairs(
        chosen_P=torch.tensor([chosen[rows[place]] for place in rejected], dtype=torch.long, device=device),
        rejected_P=torch.tensor(rejected, dtype=torch.long, device=device),
    )


def count_pairs(batch: Batch) -> int:
    """Count the pairs of a batch."""
    return batch.segment_names.count(_REJECTED)


def sum_pairs(batch: Batch, policy: Scores, reference: Scores | None, *, ld_alpha: float | None = None) -> PairSums:
    """Sum the log-probs of the answers of each pair; without a reference its log-probs are 0."""
    pairs = pairs_of(batch)
    answers = _Answers(batch, pairs, 1.0 if ld_alpha is None else ld_alpha)
    policy_chosen_P, policy_rejected_P = answers.sums(policy.logps_N)
    nothing_P = torch.zeros_like(policy_chosen_P, requires_grad=False)
    has_none = (nothing_P, nothing_P)
    with torch.no_grad():
        reference_chosen_P, reference_rejected_P = has_none if reference is None else answers.sums(reference.logps_N)
    return PairSums(
        policy_chosen_P=policy_chosen_P,
        policy_rejected_P=policy_rejected_P,
        reference_chosen_P=reference_chosen_P,
        reference_rejected_P=reference_rejected_P,
        chosen_tokens_P=answers.counts_S[pairs.chosen_P],
        rejected_tokens_P=answers.counts_S[pairs.rejected_P],
    )


class _Answers:
    """Adds up what the targets of each answer have, the tail beyond the shorter one weighed by `tail_weight`."""

    def __init__(self, batch: Batch, pairs: Pairs, tail_weight: float) -> None:
        self._batch, self._pairs, self._tail_weight = batch, pairs, tail_weight
        self._weights_N = batch.target_weights_N
        self.counts_S = self._by_segment(torch.ones_like(self._weights_N))

    def sums(self, logps_N: Tensor) -> tuple[Tensor, Tensor]:
        """Give the sums of the chosen and of the rejected answers."""
        weighed_N = self._weights_N.to(logps_N.device) * logps_N
        sums_S = self._by_segment(weighed_N)
        chosen_P, rejected_P = self._pairs.chosen_P, self._pairs.rejected_P
        if self._tail_weight == 1.0:
            return sums_S[chosen_P], sums_S[rejected_P]
        return self._cut(weighed_N, chosen_P, rejected_P), self._cut(weighed_N, rejected_P, chosen_P)

    def _by_segment(self, values_N: Tensor) -> Tensor:
        sums_S = values_N.new_zeros(len(self._batch.segment_names))
        return sums_S.index_add(0, self._batch.target_segment_N, values_N)

    def _cut(self, weighed_N: Tensor, own_P: Tensor, other_P: Tensor) -> Tensor:
        shorter_P = torch.minimum(self.counts_S[own_P], self.counts_S[other_P])
        place_N = self._places()
        sums = []
        for segment, limit in zip(own_P.tolist(), shorter_P.tolist(), strict=True):
            is_own_N = self._batch.target_segment_N == segment
            factor_N = torch.where(place_N < limit, 1.0, self._tail_weight)
            sums.append((weighed_N * factor_N)[is_own_N].sum())
        return torch.stack(sums) if sums else weighed_N[:0]

    def _places(self) -> Tensor:
        """Give the number of each target within its answer; the targets of a segment stand together."""
        segment_N = self._batch.target_segment_N
        first_S = torch.cat([self.counts_S.new_zeros(1), self.counts_S.cumsum(0)])
        order_N = torch.arange(len(segment_N), device=segment_N.device)
        return order_N - first_S[segment_N]
