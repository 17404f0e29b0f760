# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Attention over a forest of segments on the CPU as one step of the graph: one output, one gradient buffer a tensor.

Plain segment-wise calls (segments.py) leave the graph a slice, a zero-filled gradient and an addition a segment.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tunesmith.core.types import ForestLayout
from tunesmith.models.attention.piece_kernels import Rectangle
from tunesmith.models.attention.pieces import Piece, Pieces, cut
from tunesmith.models.attention.rule import AttentionRule, is_faster_in_float32


def attend_on_cpu(query: Tensor, key: Tensor, value: Tensor, *, layout: ForestLayout, rule: AttentionRule) -> Tensor:
    """Attend within each segment and to its ancestors in the one row of a batch, giving [1, T, heads, Dv]."""
    assert rule.dropout == 0.0, "dropout takes the plain way"
    if torch.is_autocast_enabled("cpu"):  # the result is in the values' format
        value = value.to(torch.get_autocast_dtype("cpu"))
    apply: Any = _CpuForest.apply
    output: Tensor = apply(query, key, value, rule.sinks, (cut(layout, rule.window), rule))
    return output


class _CpuForest(torch.autograd.Function):
    """Attention of all pieces; parts of one query's keys are joined by their log-sums."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor | None, plan: tuple[Pieces, AttentionRule]
    ) -> Tensor:
        """Fill the output piece by piece; keep it with the log-sums."""
        pieces, rule = plan
        num_heads, length = query.shape[1:3]
        is_joined = bool(pieces.inherited) or sinks is not None
        output = torch.empty(length, num_heads, value.shape[-1], dtype=torch.float32 if is_joined else value.dtype)
        logsum = torch.empty(num_heads, length)
        with torch.autocast("cpu", enabled=False):
            for piece in pieces.own:
                part, part_logsum = _rectangle(piece, (query, key, value), rule).forward()
                _tokens(output, piece.queries, piece.count).copy_(part)
                _heads(logsum, piece.queries, piece.count).copy_(part_logsum)
            for piece in pieces.inherited:
                part, part_logsum = _rectangle(piece, (query, key, value), rule).forward()
                _join(_tokens(output, piece.queries, 1), _heads(logsum, piece.queries, 1), part, part_logsum)
            if sinks is not None:
                _drain(output, logsum, sinks)
        output = output[None].to(value.dtype)
        ctx.pieces, ctx.rule = pieces, rule
        ctx.save_for_backward(query, key, value, sinks, output, logsum)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Take every piece's gradients under the log-sums of the whole."""
        query, key, value, sinks, output, logsum = ctx.saved_tensors
        pieces, rule = ctx.pieces, ctx.rule
        sums = _Gradients(query, key, value, pieces)
        with torch.autocast("cpu", enabled=False):
            for piece in (*pieces.own, *pieces.inherited):
                rectangle = _rectangle(piece, (query, key, value), rule)
                dtype = rectangle.query.dtype
                parts = rectangle.backward(
                    _tokens(gradient[0], piece.queries, piece.count).to(dtype),
                    _tokens(output[0], piece.queries, piece.count).to(dtype),
                    _heads(logsum, piece.queries, piece.count),
                )
                sums.take(piece, parts)
            of_sinks = None
            if sinks is not None and ctx.needs_input_grad[3]:
                share = (gradient[0].float() * output[0].float()).sum(dim=-1).t()
                of_sinks = -(share * (sinks.float()[:, None] - logsum).exp()).sum(dim=1).to(sinks.dtype)
        return *sums.finished(), of_sinks, None


class _Gradients:
    """Gradient buffers in the inputs' layout; float32 sums where several pieces meet."""

    def __init__(self, query: Tensor, key: Tensor, value: Tensor, pieces: Pieces) -> None:
        self._dtypes = (query.dtype, key.dtype, value.dtype)
        self._is_shared = bool(pieces.inherited) or not all(piece.is_causal for piece in pieces.own)
        if self._is_shared:
            self._buffers = [torch.zeros_like(tensor, dtype=torch.float32) for tensor in (query, key, value)]
        else:
            self._buffers = [torch.empty_like(tensor) for tensor in (query, key, value)]

    def take(self, piece: Piece, parts: tuple[Tensor, Tensor, Tensor]) -> None:
        """Store or add one piece's gradients."""
        for buffer, part, span in zip(self._buffers, parts, (piece.queries, piece.keys, piece.keys), strict=True):
            place = _rows(buffer, span, piece.count)
            if self._is_shared:
                place.add_(part)
            else:
                place.copy_(part)

    def finished(self) -> tuple[Tensor, ...]:
        """Give the gradients in the inputs' formats."""
        return tuple(buffer.to(dtype) for buffer, dtype in zip(self._buffers, self._dtypes, strict=True))


def _rectangle(piece: Piece, tensors: tuple[Tensor, Tensor, Tensor], rule: AttentionRule) -> Rectangle:
    query, key, value = tensors
    in_float32 = rule.softcap is not None or is_faster_in_float32(value.dtype, piece.num_keys)
    dtype = torch.float32 if in_float32 else value.dtype
    return Rectangle(
        _rows(query, piece.queries, piece.count).to(dtype),
        _rows(key, piece.keys, piece.count).to(dtype),
        _rows(value, piece.keys, piece.count).to(dtype),
        piece.is_causal,
        piece.mask(query.device),
        rule.scale(query.shape[-1]),
        rule.softcap,
    )


def _rows(tensor: Tensor, span: tuple[int, int], count: int) -> Tensor:
    """View a span of [1, heads, T, D] as `count` neighbours [C, heads, N, D]."""
    if count == 1:
        return tensor[:, :, span[0] : span[1]]
    length = (span[1] - span[0]) // count
    return tensor[0, :, span[0] : span[1]].view(-1, count, length, tensor.shape[-1]).transpose(0, 1)


def _tokens(tensor: Tensor, span: tuple[int, int], count: int) -> Tensor:
    """View a span of [T, heads, D] as `count` neighbours [C, heads, N, D]."""
    length = (span[1] - span[0]) // count
    return tensor[span[0] : span[1]].view(count, length, *tensor.shape[1:]).transpose(1, 2)


def _heads(tensor: Tensor, span: tuple[int, int], count: int) -> Tensor:
    """View a span of [heads, T] as `count` neighbours [C, heads, N]."""
    length = (span[1] - span[0]) // count
    return tensor[:, span[0] : span[1]].view(-1, count, length).transpose(0, 1)


def _join(output: Tensor, logsum: Tensor, part: Tensor, part_logsum: Tensor) -> None:
    """Add the output over further keys, in place: both are weighed by their shares of the sum of scores."""
    together = torch.logaddexp(logsum, part_logsum)
    output.mul_((logsum - together).exp_()[..., None]).add_(part * (part_logsum - together).exp_()[..., None])
    logsum.copy_(together)


def _drain(output: Tensor, logsum: Tensor, sinks: Tensor) -> None:
    """Let every head's sink take its share of attention, in place (gpt-oss)."""
    together = torch.logaddexp(logsum, sinks.float()[:, None])
    output.mul_((logsum - together).exp_().t()[..., None])
    logsum.copy_(together)
