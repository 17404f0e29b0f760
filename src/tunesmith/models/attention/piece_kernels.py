# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Attention of one rectangle of queries and keys on the CPU: values with their log-sums, and gradients from those.

Backward takes the output and log-sums of the whole row of keys, of which the rectangle may be a part; so parts add up
exactly. Shapes: query [C, H, N, D], key and value [C, G, M, D] with G dividing H; everything float32 or bf16.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

# Query rows whose capped scores exist at once.
_ROWS = 128

_fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_fused_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


@dataclass(frozen=True)
class Rectangle:
    """Queries, keys and values of a piece, and which pairs of them count (no mask and not causal: all)."""

    query: Tensor
    key: Tensor
    value: Tensor
    is_causal: bool
    mask: Tensor | None
    scaling: float
    softcap: float | None

    def forward(self) -> tuple[Tensor, Tensor]:
        """Give the output [C, H, N, Dv] over these keys and the log-sums [C, H, N] of their scores."""
        if self.softcap is not None:
            return self._capped()
        query, key, value = self._same_width()
        output, logsum = _fused(
            query, key, value, 0.0, self.is_causal, attn_mask=self._additive_mask(), scale=self.scaling
        )
        return output[..., : self.value.shape[-1]], logsum

    def backward(self, gradient: Tensor, output: Tensor, logsum: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Give the gradients of query, key and value."""
        if self.softcap is not None:
            return self._capped_backward(gradient, output, logsum)
        query, key, value = self._same_width()
        width = query.shape[-1]
        of_query, of_key, of_value = _fused_backward(
            _widened(gradient, width), query, key, value, _widened(output, width), logsum, 0.0, self.is_causal,
            attn_mask=self._additive_mask(), scale=self.scaling,
        )  # fmt: skip
        return (
            of_query[..., : self.query.shape[-1]],
            of_key[..., : self.key.shape[-1]],
            of_value[..., : self.value.shape[-1]],
        )

    def _same_width(self) -> tuple[Tensor, Tensor, Tensor]:
        """The fused kernel wants values as wide as keys (latent attention has others); zeros change nothing."""
        width = max(self.query.shape[-1], self.value.shape[-1])
        return _widened(self.query, width), _widened(self.key, width), _widened(self.value, width)

    def _additive_mask(self) -> Tensor | None:
        if self.mask is None:
            return None
        return torch.zeros(self.mask.shape, dtype=self.query.dtype).masked_fill_(~self.mask, -torch.inf)

    def _capped(self) -> tuple[Tensor, Tensor]:
        outputs, logsums = [], []
        for rows in self._row_spans():
            scores, _ = self._capped_scores(rows)
            logsum = scores.logsumexp(dim=-1)
            weights = scores.sub_(logsum[..., None]).exp_()
            outputs.append((weights @ self.value[:, :, None]).flatten(1, 2))
            logsums.append(logsum.flatten(1, 2))
        return torch.cat(outputs, dim=2), torch.cat(logsums, dim=2)

    def _capped_backward(self, gradient: Tensor, output: Tensor, logsum: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        groups = self.key.shape[1]
        delta = (gradient * output).sum(dim=-1)
        of_query = torch.empty_like(self.query)
        of_key, of_value = torch.zeros_like(self.key), torch.zeros_like(self.value)
        for rows in self._row_spans():
            scores, slope = self._capped_scores(rows)
            logsum_part, delta_part, gradient_part, query_part = (
                tensor[:, :, rows].unflatten(1, (groups, -1)) for tensor in (logsum, delta, gradient, self.query)
            )
            weights = scores.sub_(logsum_part[..., None]).exp_()
            of_value += (weights.transpose(-1, -2) @ gradient_part).sum(dim=2)
            of_scores = gradient_part @ self.value[:, :, None].transpose(-1, -2)
            of_scores = of_scores.sub_(delta_part[..., None]).mul_(weights).mul_(slope)
            of_query[:, :, rows] = (of_scores @ self.key[:, :, None]).flatten(1, 2)
            of_key += (of_scores.transpose(-1, -2) @ query_part).sum(dim=2)
        return of_query, of_key, of_value

    def _row_spans(self) -> list[slice]:
        return [slice(first, first + _ROWS) for first in range(0, self.query.shape[2], _ROWS)]

    def _capped_scores(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Capped scores [C, G, H / G, rows, M] of some queries, and their slope by the plain product."""
        assert self.softcap is not None
        query = self.query[:, :, rows].unflatten(1, (self.key.shape[1], -1))
        product = query @ self.key[:, :, None].transpose(-1, -2)
        squashed = torch.tanh(product.mul_(self.scaling / self.softcap))
        slope = (1.0 - squashed.square()).mul_(self.scaling)
        mask = self.mask
        if self.is_causal:
            mask = torch.ones(self.query.shape[2], self.key.shape[2], dtype=torch.bool).tril()
        scores = squashed.mul_(self.softcap)
        return (scores if mask is None else scores.masked_fill_(~mask[rows], -torch.inf)), slope


def _widened(tensor: Tensor, width: int) -> Tensor:
    return tensor if tensor.shape[-1] == width else F.pad(tensor, (0, width - tensor.shape[-1]))
