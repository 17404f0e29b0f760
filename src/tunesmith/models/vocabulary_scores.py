# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Scores that need the distribution over the whole vocabulary: its mean log-prob, entropy, distance from another.

Each chunk of targets is computed once without keeping its logits, and again for the gradient, so that never more than
one chunk's logits exist; values and gradients are those of the plain computation, with heads trained, tied or adapted.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tunesmith.core.types import Batch, Detail, Scores
from tunesmith.models.anatomy import base_model
from tunesmith.models.head import LanguageHead, language_head
from tunesmith.models.scores import CHUNK_BYTES, hidden_states

# The entropy among this many of the likeliest tokens, their probabilities scaled to add up to 1.
TOP_TOKENS = 20


@dataclass(frozen=True, kw_only=True)
class ReferenceStates:
    """What a divergence is taken from: the reference's states at the targets, and a context in which its head works."""

    states_ND: Tensor
    view: Callable[[], AbstractContextManager[None]]


def score_vocabulary(
    model: nn.Module,
    batch: Batch,
    details: Iterable[Detail],
    *,
    reference: ReferenceStates | None = None,
    chunk: int | None = None,
) -> Scores:
    """Score the targets of a batch with the details asked for; `chunk` is how many targets' logits exist at once."""
    states_ND = hidden_states(model, batch).index_select(0, batch.source_index_N)
    config: Any = base_model(model).config.get_text_config()
    rows = chunk or max(1, CHUNK_BYTES // (4 * int(config.vocab_size)))
    wanted = frozenset(details)
    assert "divergence" not in wanted or reference is not None, "a divergence needs a reference"
    chunks = _Chunks(language_head(model), batch.target_ids_N, wanted, reference)
    found = [
        checkpoint(chunks.score, states_ND[start : start + rows], start, use_reentrant=False)
        for start in range(0, len(batch.target_ids_N), rows)
    ]
    return _joined(found, wanted, states_ND)


class _Chunks:
    """Scores some targets at a time; a pure function of their states and of the head's weights."""

    def __init__(
        self, head: LanguageHead, ids_N: Tensor, wanted: frozenset[Detail], reference: ReferenceStates | None
    ) -> None:
        self._head, self._ids_N, self._wanted, self._reference = head, ids_N, wanted, reference

    def score(self, states_CD: Tensor, start: int) -> tuple[Tensor, ...]:
        """Give log-probs, top-1 flags, and the details in the order of their names (zeros where not wanted)."""
        span = slice(start, start + len(states_CD))
        logps_CV = self._logps(states_CD)
        ids_C1 = self._ids_N[span, None]
        logps_C = logps_CV.gather(-1, ids_C1)[:, 0]
        is_top_C = logps_CV.detach().argmax(-1) == ids_C1[:, 0]
        nothing_C = torch.zeros_like(logps_C)
        mean_C = logps_CV.mean(-1) if "mean_logp" in self._wanted else nothing_C
        entropy_C = _top_entropy(logps_CV.detach()) if "top_entropy" in self._wanted else nothing_C
        divergence_C = self._divergence(logps_CV, span) if "divergence" in self._wanted else nothing_C
        return logps_C, is_top_C, mean_C, entropy_C, divergence_C

    def _logps(self, states_CD: Tensor) -> Tensor:
        return torch.log_softmax(self._head.transform(self._head.module(states_CD)), dim=-1)

    def _divergence(self, logps_CV: Tensor, span: slice) -> Tensor:
        """Give KL(reference ‖ policy); the reference's head works only inside its view."""
        assert self._reference is not None, "checked before"
        with torch.no_grad(), self._reference.view():
            reference_CV = self._logps(self._reference.states_ND[span])
        torch.clear_autocast_cache()  # casts of trained weights made here carry no gradient
        return (reference_CV.exp() * (reference_CV - logps_CV)).sum(-1)


def _top_entropy(logps_CV: Tensor) -> Tensor:
    top_CK = torch.log_softmax(logps_CV.topk(min(TOP_TOKENS, logps_CV.shape[-1]), dim=-1).values, dim=-1)
    return -(top_CK.exp() * top_CK).sum(-1)


def _joined(found: list[tuple[Tensor, ...]], wanted: frozenset[Detail], states_ND: Tensor) -> Scores:
    if found:
        logps_N, is_top_N, mean_N, entropy_N, divergence_N = (torch.cat(column) for column in zip(*found, strict=True))
    else:
        logps_N = mean_N = entropy_N = divergence_N = states_ND.sum(-1).float()
        is_top_N = logps_N.bool()
    return Scores(
        logps_N=logps_N,
        is_top_N=is_top_N,
        mean_logps_N=mean_N if "mean_logp" in wanted else None,
        top_entropy_N=entropy_N.detach() if "top_entropy" in wanted else None,
        divergence_N=divergence_N if "divergence" in wanted else None,
    )
