# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The one place that turns hidden states into log-probs: at the listed targets only, in chunks, never [N, V] at once.

Forward keeps one number a target; backward computes each chunk's logits again (a frozen head takes the single pass of
frozen_scores.py). Values and gradients equal the plain computation: float32 log-softmax of the model's logits, weights
tied or not, frozen or trained, adapters on the head.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tunesmith.core.types import Batch, Scores
from tunesmith.models.anatomy import backbone, base_model
from tunesmith.models.attention.forest import layout_mask
from tunesmith.models.frozen_scores import FrozenScores, blocks, computed_dtype, is_frozen_linear
from tunesmith.models.head import LanguageHead, language_head
from tunesmith.models.new_rows import rows_of

# Logits held at once, in the format the head computes them in, whatever the vocabulary; with fewer rows in a product
# the head's weights are read more often.
CHUNK_BYTES = 2**25
# A trained head adds a gradient of its own size for each chunk; fewer, larger ones save 3 % of a full step.
CHUNKS_OF_TRAINED_HEADS = 4


def score_batch(model: nn.Module, batch: Batch, *, needs_entropy: bool = False, chunk: int | None = None) -> Scores:
    """Score the targets of a batch; `chunk` is the number of targets whose logits exist at once."""
    states_ND = hidden_states(model, batch).index_select(0, batch.source_index_N)
    return score_states(model, states_ND, batch.target_ids_N, needs_entropy=needs_entropy, chunk=chunk)


def hidden_states(model: nn.Module, batch: Batch) -> Tensor:
    """Run the model without its head and give the B·T final hidden states."""
    options: dict[str, Any] = {"attention_mask": batch.attention_mask_BT}
    if batch.layout is not None:
        options = {"attention_mask": layout_mask(batch.input_ids_BT.device), "layout": batch.layout}
    output = backbone(model)(
        input_ids=batch.input_ids_BT, position_ids=batch.position_ids_BT, use_cache=False, **options
    )
    states: Tensor = output.last_hidden_state
    return states.flatten(0, 1)


def score_states(
    model: nn.Module, states_ND: Tensor, target_ids_N: Tensor, *, needs_entropy: bool = False, chunk: int | None = None
) -> Scores:
    """Score one target for each of N hidden states."""
    head = language_head(model)
    config: Any = base_model(model).config.get_text_config()
    rows = chunk or max(1, CHUNK_BYTES // (int(config.vocab_size) * computed_dtype(states_ND).itemsize))
    if not needs_entropy and is_frozen_linear(head.module):
        new = rows_of(head.module)
        walk: Any = FrozenScores.apply
        logps_N, is_top_N = walk(states_ND, target_ids_N, head, rows, None if new is None else new.weight)
        return Scores(logps_N=logps_N, is_top_N=is_top_N)
    trained = [parameter for parameter in head.module.parameters() if parameter.requires_grad]
    if trained and chunk is None:
        rows *= CHUNKS_OF_TRAINED_HEADS
    plan = _Plan(head=head, rows=rows, needs_entropy=needs_entropy)
    apply: Any = _ChunkedScores.apply
    logps_N, is_top_N, entropy_N = apply(states_ND, target_ids_N, plan, *trained)
    return Scores(logps_N=logps_N, is_top_N=is_top_N, entropy_N=entropy_N if needs_entropy else None)


@dataclass(frozen=True, kw_only=True)
class _Plan:
    head: LanguageHead
    rows: int
    needs_entropy: bool


class _ChunkedScores(torch.autograd.Function):
    """Log-probs, top-1 flags and entropies of N targets; gradients for the states and the head's trained weights."""

    @staticmethod
    def forward(ctx: Any, states_ND: Tensor, target_ids_N: Tensor, plan: _Plan, *trained: Tensor) -> tuple[Tensor, ...]:
        """Walk the chunks and keep log-normalisers and entropies, no logits."""
        ctx.circumstances = _Circumstances.observe(states_ND.device, plan.head.module)
        parts = [
            _chunk_scores(plan, states_ND[span], target_ids_N[span]) for span in _spans(len(target_ids_N), plan.rows)
        ]
        logps_N, is_top_N, entropy_N, normaliser_N = (
            (torch.cat(column) for column in zip(*parts, strict=True)) if parts else _no_scores(states_ND.device)
        )
        if trained:
            torch.clear_autocast_cache()  # casts made here carry no gradient; a later forward must not find them
        ctx.plan, ctx.trained = plan, trained
        ctx.save_for_backward(states_ND, target_ids_N, normaliser_N, entropy_N)
        ctx.mark_non_differentiable(is_top_N)
        return logps_N, is_top_N, entropy_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_logps_N: Tensor, _: Any, grad_entropy_N: Tensor) -> tuple[Tensor | None, ...]:
        """Compute each chunk's logits again and carry the gradients through the head module."""
        states_ND, target_ids_N, normaliser_N, entropy_N = ctx.saved_tensors
        plan: _Plan = ctx.plan
        grad_states_ND = torch.zeros_like(states_ND) if ctx.needs_input_grad[0] else None
        grads = [torch.zeros(weight.shape, dtype=torch.float32, device=weight.device) for weight in ctx.trained]
        with ctx.circumstances.restore():
            for span in _spans(len(target_ids_N), plan.rows):
                with torch.enable_grad():
                    inputs_CD = states_ND[span].detach().requires_grad_(grad_states_ND is not None)
                    raw_CV = plan.head.module(inputs_CD)
                grad_raw_CV = _logit_gradient(
                    plan,
                    raw_CV.detach(),
                    _ChunkTargets(target_ids_N[span], normaliser_N[span], entropy_N[span]),
                    (grad_logps_N[span], grad_entropy_N[span]),
                )
                wanted = [*([inputs_CD] if grad_states_ND is not None else []), *ctx.trained]
                found = list(torch.autograd.grad(raw_CV, wanted, grad_raw_CV))
                if grad_states_ND is not None:
                    grad_states_ND[span] = found.pop(0)
                for total, part in zip(grads, found, strict=True):
                    total.add_(part)
                del raw_CV, grad_raw_CV, found  # else the next chunk is made beside them
        of_weights = [total.to(weight.dtype) for total, weight in zip(grads, ctx.trained, strict=True)]
        return grad_states_ND, None, None, *of_weights


@dataclass(frozen=True)
class _ChunkTargets:
    target_ids_C: Tensor
    normaliser_C: Tensor
    entropy_C: Tensor


def _spans(total: int, rows: int) -> Iterator[slice]:
    for start in range(0, total, rows):
        yield slice(start, min(start + rows, total))


def _chunk_scores(plan: _Plan, states_CD: Tensor, target_ids_C: Tensor) -> tuple[Tensor, ...]:
    raw_CV = plan.head.module(states_CD)
    parts = [_block_scores(plan, raw_CV[block], target_ids_C[block]) for block in blocks(raw_CV)]
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def _block_scores(plan: _Plan, raw_CV: Tensor, target_ids_C: Tensor) -> tuple[Tensor, ...]:
    logits_CV = plan.head.transform(raw_CV)
    normaliser_C = logits_CV.logsumexp(dim=-1)
    logps_C = logits_CV.gather(-1, target_ids_C[:, None])[:, 0] - normaliser_C
    is_top_C = logits_CV.argmax(dim=-1) == target_ids_C
    entropy_C = torch.zeros_like(normaliser_C)
    if plan.needs_entropy:
        probabilities_CV = (logits_CV - normaliser_C[:, None]).exp_()
        entropy_C = normaliser_C - probabilities_CV.mul_(logits_CV).sum(dim=-1)
    return logps_C, is_top_C, entropy_C, normaliser_C


def _logit_gradient(plan: _Plan, raw_CV: Tensor, targets: _ChunkTargets, gradients: tuple[Tensor, Tensor]) -> Tensor:
    """Gradient at the head module's output, in its format, from d log p(y)/dz = 1[y] - p and dH/dz = -p (log p + H)."""
    gradient_CV = torch.empty_like(raw_CV)
    for block in blocks(raw_CV):
        parts = _ChunkTargets(targets.target_ids_C[block], targets.normaliser_C[block], targets.entropy_C[block])
        gradient_CV[block] = _block_gradient(plan, raw_CV[block], parts, (gradients[0][block], gradients[1][block]))
    return gradient_CV


def _block_gradient(plan: _Plan, raw_CV: Tensor, targets: _ChunkTargets, gradients: tuple[Tensor, Tensor]) -> Tensor:
    grad_logps_C, grad_entropy_C = gradients
    logits_CV = plan.head.transform(raw_CV)
    logps_CV = logits_CV - targets.normaliser_C[:, None]
    if plan.needs_entropy:
        slope_CV = -grad_logps_C[:, None] - grad_entropy_C[:, None] * (logps_CV + targets.entropy_C[:, None])
        gradient_CV = logps_CV.exp_().mul_(slope_CV)
    else:
        gradient_CV = logps_CV.exp_().mul_(-grad_logps_C[:, None])
    gradient_CV.scatter_add_(1, targets.target_ids_C[:, None], grad_logps_C[:, None])
    return plan.head.transform_gradient(gradient_CV, logits_CV)


def _no_scores(device: torch.device) -> tuple[Tensor, ...]:
    nothing = torch.zeros(0, device=device)
    return nothing, nothing.bool(), nothing.clone(), nothing.clone()


@dataclass(frozen=True, kw_only=True)
class _Circumstances:
    """Autocast and random state of the forward pass, so that the second computation equals the first."""

    device: torch.device
    autocast_dtype: torch.dtype | None
    random_state: Tensor | None

    @classmethod
    def observe(cls, device: torch.device, module: nn.Module) -> "_Circumstances":
        """Note autocast, and the random state when the head drops values."""
        drops = any(isinstance(part, nn.Dropout) and part.p > 0 and part.training for part in module.modules())
        state = None
        if drops:
            state = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
        is_on = torch.is_autocast_enabled(device.type)
        dtype = torch.get_autocast_dtype(device.type) if is_on else None
        return cls(device=device, autocast_dtype=dtype, random_state=state)

    @contextlib.contextmanager
    def restore(self) -> Iterator[None]:
        """Compute as in the forward pass, then put the random state back."""
        devices = [self.device] if self.device.type == "cuda" else []
        with (
            torch.random.fork_rng(devices=devices, enabled=self.random_state is not None),
            torch.autocast(self.device.type, dtype=self.autocast_dtype, enabled=self.autocast_dtype is not None),
        ):
            if self.random_state is not None and devices:
                torch.cuda.set_rng_state(self.random_state, self.device)
            elif self.random_state is not None:
                torch.set_rng_state(self.random_state)
            yield
