# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Scores under a head that is not trained, in one pass: each chunk's logits give the log-probs and their slopes.

The gradient of log p(y) at a hidden state is W[y] - Σ p(v) W[v], whatever the loss makes of the log-probs. So it is
computed while the logits exist, and the backward pass only scales it: two products with the head in place of three.
Rows of new tokens may be trained in a head that is frozen otherwise: their few slopes are kept for the backward pass.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tunesmith.models.head import LanguageHead
from tunesmith.models.new_rows import rows_of, write_rows

# Logits in float32 at once on a CPU: 2 MB, so that six walks over them stay in the cache.
_BLOCK_ELEMENTS = 2**19
# With more rows that are trained, keeping their slopes costs more than computing the logits twice.
_MOST_NEW_ROWS = 1024


def is_frozen_linear(module: nn.Module) -> bool:
    """Say whether a head is a plain linear layer of which at most a few new rows are trained; others go another way."""
    rows = rows_of(module)
    num_hooks = len(module._forward_hooks) + len(module._forward_pre_hooks) - (rows is not None)
    if type(module) is not nn.Linear or num_hooks or (rows is not None and len(rows.weight) > _MOST_NEW_ROWS):
        return False
    new = None if rows is None else rows.weight
    return not any(parameter.requires_grad for parameter in module.parameters() if parameter is not new)


class FrozenScores(torch.autograd.Function):
    """Log-probs and top-1 flags of N targets; the gradient reaches the hidden states, and new rows of the head."""

    @staticmethod
    def forward(
        ctx: Any, states_ND: Tensor, target_ids_N: Tensor, head: LanguageHead, rows: int, new_RD: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Walk the chunks once; `new_RD` are the new rows of the head, where there are some."""
        num_targets = len(target_ids_N)
        new = _NewSlopes(head.module, states_ND, num_targets) if ctx.needs_input_grad[4] else None
        logps_N = torch.empty(num_targets, dtype=torch.float32, device=states_ND.device)
        is_top_N = torch.empty(num_targets, dtype=torch.bool, device=states_ND.device)
        slopes_ND = torch.empty_like(states_ND) if ctx.needs_input_grad[0] else None
        product = _Product(head.module, states_ND, min(rows, num_targets))
        for start in range(0, num_targets, rows):
            span = slice(start, start + rows)
            raw_CV = product.logits_CV(states_ND[span])
            for block in blocks(raw_CV):
                scored = _Block(head, raw_CV[block], target_ids_N[span][block, None])
                logps_N[span][block], is_top_N[span][block] = scored.logps_C1[:, 0], scored.is_top_C1[:, 0]
                if slopes_ND is not None or new is not None:  # the block is read; its memory takes the slopes
                    raw_CV[block] = scored.slope_CV()
            if slopes_ND is not None:
                slopes_ND[span] = raw_CV @ product.weight_VD
            if new is not None:
                new.keep(span, raw_CV)
        ctx.save_for_backward(slopes_ND, *((new.slopes_NR, states_ND) if new is not None else (None, None)))
        ctx.mark_non_differentiable(is_top_N)
        return logps_N, is_top_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_logps_N: Tensor, _: Any) -> tuple[Tensor | None, ...]:
        """Scale the slopes."""
        slopes_ND, new_NR, states_ND = ctx.saved_tensors
        scale_N1 = grad_logps_N[:, None]
        of_states = None if slopes_ND is None else (slopes_ND * scale_N1).to(slopes_ND.dtype)
        of_new = None if new_NR is None else (new_NR * scale_N1).t() @ states_ND.float()
        return of_states, None, None, None, of_new


def blocks(raw_CV: Tensor) -> Iterator[slice]:
    """Cut a chunk of logits into rows that stay in the processor's cache as float32; a GPU takes all at once."""
    rows = len(raw_CV) if raw_CV.is_cuda else max(1, _BLOCK_ELEMENTS // raw_CV.shape[1])
    for start in range(0, len(raw_CV), rows):
        yield slice(start, start + rows)


class _Block:
    """Some rows of logits in float32, worked on in place where that is possible."""

    def __init__(self, head: LanguageHead, raw_CV: Tensor, target_ids_C1: Tensor) -> None:
        self._head, self._target_ids_C1 = head, target_ids_C1
        self._logits_CV = head.transform(raw_CV)
        largest_C1, top_C1 = self._logits_CV.max(dim=-1, keepdim=True)
        target_C1 = self._logits_CV.gather(-1, target_ids_C1)
        # The cap's own slope needs the logits; without a cap their memory is used up.
        exp_CV = self._logits_CV.clone() if head.softcap is not None else self._logits_CV
        self._exp_CV = exp_CV.sub_(largest_C1).exp_()
        self._sum_C1 = self._exp_CV.sum(dim=-1, keepdim=True)
        self.logps_C1 = target_C1 - largest_C1 - self._sum_C1.log()
        self.is_top_C1 = top_C1 == target_ids_C1

    def slope_CV(self) -> Tensor:
        """Give d log p(y) / d raw: the indicator of y less the probabilities, through scale and cap."""
        slope_CV = self._exp_CV.mul_(-1.0 / self._sum_C1)
        slope_CV.scatter_add_(1, self._target_ids_C1, torch.ones_like(self._sum_C1))
        return self._head.transform_gradient(slope_CV, self._logits_CV)


class _NewSlopes:
    """The slopes of the logits of new tokens, of all targets."""

    def __init__(self, module: nn.Module, states_ND: Tensor, num_targets: int) -> None:
        rows = rows_of(module)
        assert rows is not None, "trained rows are given where the head has them"
        self._span = slice(rows.first, rows.end)
        self.slopes_NR = torch.empty(num_targets, len(rows.weight), dtype=torch.float32, device=states_ND.device)

    def keep(self, span: slice, slopes_CV: Tensor) -> None:
        """Keep those of a chunk."""
        self.slopes_NR[span] = slopes_CV[:, self._span].float()


class _Product:
    """The head's product with hidden states, in autocast's format if there is one, into one buffer for all chunks."""

    def __init__(self, module: nn.Module, states_ND: Tensor, rows: int) -> None:
        assert isinstance(module, nn.Linear), "is_frozen_linear was asked"
        dtype = computed_dtype(states_ND)
        write_rows(module)
        self.weight_VD = module.weight.to(dtype)
        self._bias_V = None if module.bias is None else module.bias.to(dtype)
        self._buffer_CV = torch.empty(rows, module.out_features, dtype=dtype, device=states_ND.device)

    def logits_CV(self, states_CD: Tensor) -> Tensor:
        """Give the logits of a chunk; those of the chunk before are overwritten."""
        logits_CV, states_CD = self._buffer_CV[: len(states_CD)], states_CD.to(self.weight_VD.dtype)
        if self._bias_V is None:
            return torch.mm(states_CD, self.weight_VD.t(), out=logits_CV)
        return torch.addmm(self._bias_V, states_CD, self.weight_VD.t(), out=logits_CV)


def computed_dtype(states_ND: Tensor) -> torch.dtype:
    """Give the format that a head computes logits of these states in."""
    device = states_ND.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states_ND.dtype
